//! The SDK's client: made at the first call, and made anew when credentials of the AWS chain were refused.

use std::{path::Path, sync::Arc};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder as HttpBuilder,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::sync::Mutex;

use super::{
    super::SinkError,
    config::{Checksum, S3Settings, StaticCredentials},
    fault::Class,
};

/// What the SDK does by default is what it did then; a newer date is a decision.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// See the module.
#[derive(Debug)]
pub struct Clients {
    settings: Arc<S3Settings>,
    current: Mutex<Option<Client>>,
}

impl Clients {
    /// None yet.
    pub fn new(settings: Arc<S3Settings>) -> Self {
        Self { settings, current: Mutex::new(None) }
    }

    /// The client. Its calls try once: waiting and trying again is the task's.
    pub async fn get(&self) -> Result<Client, SinkError> {
        let mut current = self.current.lock().await;
        if let Some(client) = &*current {
            return Ok(client.clone());
        }
        let client = Box::pin(connect(&self.settings)).await?;
        *current = Some(client.clone());
        Ok(client)
    }

    /// After a refusal: credentials of the chain are looked up anew for the next call.
    pub async fn refused(&self, class: Class) {
        let credentials = matches!(
            class,
            Class::Expired | Class::BadCredentials | Class::NoCredentials | Class::NoRight | Class::WrongClock
        );
        if credentials && self.settings.credentials.is_none() {
            *self.current.lock().await = None;
        }
    }
}

async fn connect(settings: &S3Settings) -> Result<Client, SinkError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(settings.timeout)
        .operation_timeout(settings.timeout)
        .build();
    let mut loader = aws_config::defaults(behavior()).timeout_config(timeouts).retry_config(RetryConfig::disabled());
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(url) = &settings.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(credentials) = &settings.credentials {
        loader = loader.credentials_provider(fixed(credentials));
    }
    if let Some(file) = &settings.ca_file {
        loader = loader.http_client(trusting(file)?);
    }
    let (request, response) = match settings.checksum {
        Checksum::WhenSupported => {
            (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported)
        }
        Checksum::WhenRequired => (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired),
    };
    let loader = loader.request_checksum_calculation(request).response_checksum_validation(response);
    let config = Builder::from(&loader.load().await).force_path_style(settings.path_style).build();
    Ok(Client::from_conf(config))
}

fn fixed(credentials: &StaticCredentials) -> Credentials {
    let StaticCredentials { access_key_id, secret_access_key, session_token } = credentials;
    let token = session_token.as_ref().map(|token| token.reveal().to_owned());
    Credentials::new(access_key_id.reveal(), secret_access_key.reveal(), token, None, "forebay.yaml")
}

/// The default client with more certificates. They are read here first: the SDK's builder takes them unseen, and panics
/// on what is none.
fn trusting(file: &Path) -> Result<SharedHttpClient, SinkError> {
    let bad = |why: String| {
        let advice = format!("s3.ca_file {}: {why}: it must hold certificates in PEM form.", file.display());
        SinkError::stop("BAD_CA_FILE", advice)
    };
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added =
            certificate.map_err(|error| error.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
        added.map_err(bad)?;
    }
    if roots.is_empty() {
        return Err(bad("no certificate is in it".to_owned()));
    }
    let trust = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| bad(error.to_string()))?;
    let provider = tls::Provider::Rustls(CryptoMode::AwsLc);
    Ok(HttpBuilder::new().tls_provider(provider).tls_context(context).build_https())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (name, text) in [("empty", ""), ("text", "hello"), ("broken", broken)] {
            let file = dir.path().join(name);
            std::fs::write(&file, text).unwrap();
            let refused = trusting(&file).unwrap_err();
            assert!(matches!(refused, SinkError::Stop { code: "BAD_CA_FILE", .. }), "{refused}");
        }
        assert!(trusting(&dir.path().join("none")).is_err());
    }
}
