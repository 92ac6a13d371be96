//! Whether the store obeys conditional writes. One that answers 200 to all of them would overwrite in silence, so it is
//! tried out before the first write.

use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use tokio::sync::Mutex;
use tracing::warn;

use super::{
    super::{
        SinkError,
        store::{Content, Metadata},
    },
    config::Conditional,
    fault::Class,
    multipart,
    service::{Failed, Part, Service},
};

const UNKNOWN: u8 = 0;
const OBEYED: u8 = 1;
const NOT_OBEYED: u8 = 2;

/// What was found out by trying, kept until the store contradicts it.
#[derive(Debug, Default)]
pub struct Condition {
    found: AtomicU8,
    probing: Mutex<()>,
}

impl Condition {
    /// Whether to write conditionally. The first call tries it out, with a probe at `key` that is removed again.
    pub async fn use_it(&self, service: &Service, key: &str) -> Result<bool, SinkError> {
        if service.settings.conditional == Conditional::Off {
            return Ok(false);
        }
        let _one = match self.found.load(Ordering::Acquire) {
            UNKNOWN => self.probing.lock().await,
            found => return Ok(found == OBEYED),
        };
        if self.found.load(Ordering::Acquire) == UNKNOWN {
            self.settle(service, obeyed(service, key).await?)?;
        }
        Ok(self.found.load(Ordering::Acquire) == OBEYED)
    }

    /// The store, which obeyed, has refused a conditional write as unknown to it: the next use tries it out again. One
    /// answer alone, of a gateway in between or about something else, takes the protection from no later write.
    pub fn refused(&self) {
        let _ = self.found.compare_exchange(OBEYED, UNKNOWN, Ordering::AcqRel, Ordering::Acquire);
    }

    fn settle(&self, service: &Service, obeyed: bool) -> Result<(), SinkError> {
        if !obeyed && service.settings.conditional == Conditional::Require {
            return Err(not_obeyed(service));
        }
        let found = if obeyed { OBEYED } else { NOT_OBEYED };
        if self.found.swap(found, Ordering::AcqRel) != found && !obeyed {
            warn!(
                store = service.settings.url(),
                "The store does not obey conditional writes: each object is looked for before it is written. \
                 exactly_once.conditional: off says that this is known."
            );
        }
        Ok(())
    }
}

/// For settings that insist.
fn not_obeyed(service: &Service) -> SinkError {
    let service = service.settings.endpoint_url.as_deref().unwrap_or("AWS");
    let advice = format!(
        "{service} does not obey conditional writes (If-None-Match), and exactly_once.conditional is require: use a \
         service that does, or set it to auto."
    );
    SinkError::stop("NO_CONDITIONAL_WRITES", advice)
}

/// Creates a probe, and sees that neither a put nor an upload in parts replaces it.
async fn obeyed(service: &Service, key: &str) -> Result<bool, SinkError> {
    let found = attempts(service, key).await;
    if let Err(failed) = service.delete(key).await {
        let error = failed.into_error(&service.settings).to_string();
        warn!(error, "The probe of conditional writes stays behind.");
    }
    found.map_err(|failed| failed.into_error(&service.settings))
}

async fn attempts(service: &Service, key: &str) -> Result<bool, Failed> {
    let probe = Content::Memory(Bytes::from_static(b"probe"));
    let none = Metadata::new();
    match service.put(key, &probe, &none, true).await {
        Ok(()) => {}
        Err(failed) if failed.class() == Some(Class::Unsupported) => {
            // Whatever else is not supported shows here.
            service.put(key, &probe, &none, false).await?;
            return Ok(false);
        }
        Err(failed) => return Err(failed),
    }
    Ok(refuses(service.put(key, &probe, &none, true).await)? && refuses(replace_in_parts(service, key, &probe).await)?)
}

async fn replace_in_parts(service: &Service, key: &str, probe: &Content) -> Result<(), Failed> {
    let id = service.create_upload(key, &Metadata::new()).await?;
    let part = Part { number: 1, at: 0, len: probe.len() };
    let completed = match service.upload_part(key, &id, &part, probe).await {
        Ok(part) => service.complete(key, &id, vec![part], true).await,
        Err(failed) => Err(failed),
    };
    if completed.is_err() {
        multipart::drop_upload(service, key, &id).await;
    }
    completed
}

fn refuses(written: Result<(), Failed>) -> Result<bool, Failed> {
    match written {
        Ok(()) => Ok(false),
        Err(failed) => match failed.class() {
            Some(Class::Taken) => Ok(true),
            Some(Class::Unsupported) => Ok(false),
            _ => Err(failed),
        },
    }
}
