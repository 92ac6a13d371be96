//! Options of `registry:` as written in `forebay.yaml`, and the settings they resolve to.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

/// Most URLs of one registry.
const MAX_URLS: usize = 8;

/// `registry:` where schemas are. Without `url` the embedded registry is used, which lives in the log's directory and
/// serves one process.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryOptions {
    /// Address on which the embedded registry serves the API of Confluent's Schema Registry. Default `127.0.0.1:8081`;
    /// port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// URL of an external registry with the API of Confluent's Schema Registry, with its path if it has one
    /// (Apicurio: `http://host:8080/apis/ccompat/v7`). Several, separated by commas, are nodes of one registry: one
    /// that does not answer is passed over. At most 8. Default: the embedded registry.
    pub url: Option<String>,
    /// Credentials for `url`. Default: none.
    pub auth: Option<RegistryAuthOptions>,
    /// File of PEM certificates that are trusted for `https://` besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one node of `url` may take for one answer, in ms. Default 5000; from 100 to 60000.
    pub timeout_ms: Option<u64>,
    /// How long the latest version of a subject is taken from memory before `url` is asked again, in ms: so late may a
    /// new version be noticed. While the registry is away the version in memory stays in use. Default 60000; at most
    /// 3600000; 0 asks each time.
    pub latest_ttl_ms: Option<u64>,
    /// How long `url` is not asked again for a subject, version or id that it does not have, in ms. Default 5000; at
    /// most 60000.
    pub unknown_ttl_ms: Option<u64>,
}

/// `registry.auth`: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryAuthOptions {
    /// HTTP basic authentication (an API key and its secret are one, too).
    pub basic: Option<RegistryBasicOptions>,
    /// Token for `Authorization: Bearer`.
    pub bearer: Option<Secret>,
}

/// `registry.auth.basic`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryBasicOptions {
    /// Name of the user, or the API key.
    pub username: String,
    /// Password, or the key's secret.
    pub password: Secret,
}

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the wire.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Resolved [`RegistryOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrySettings {
    /// The registry in this process.
    Embedded {
        /// Where it is served over HTTP.
        listen: SocketAddr,
    },
    /// A registry elsewhere.
    Remote(RemoteSettings),
}

/// How to reach a registry elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// Its nodes, each a URL without a slash at its end; at least one.
    pub urls: Vec<Url>,
    /// Credentials.
    pub auth: RegistryAuth,
    /// Certificates trusted besides the system's; absolute.
    pub ca_file: Option<PathBuf>,
    /// For one answer of one node.
    pub timeout: Duration,
    /// Life of the latest version of a subject in memory.
    pub latest_ttl: Duration,
    /// Life of a "there is none" in memory.
    pub unknown_ttl: Duration,
}

/// Credentials for a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegistryAuth {
    /// None are sent.
    #[default]
    None,
    /// Name and password.
    Basic(String, Secret),
    /// A token.
    Bearer(Secret),
}

/// An option that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// Dotted name in the file.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl RegistryOptions {
    /// Resolves; relative paths start from `base`.
    ///
    /// # Errors
    /// The option that can't be. No text of a secret is in it.
    pub fn settings(&self, base: &Path) -> Result<RegistrySettings, ConfigError> {
        let Some(url) = &self.url else { return self.embedded() };
        if self.listen.is_some() {
            let problem = "an external registry is served by others: remove registry.listen, or registry.url";
            return Err(ConfigError { key: "registry.listen", problem: problem.to_owned() });
        }
        Ok(RegistrySettings::Remote(RemoteSettings {
            urls: parse_urls(url)?,
            auth: self.auth.as_ref().map_or(Ok(RegistryAuth::None), RegistryAuthOptions::resolve)?,
            ca_file: self.ca_file.as_ref().map(|file| base.join(file)),
            timeout: ms("registry.timeout_ms", self.timeout_ms, 5_000, 100, 60_000)?,
            latest_ttl: ms("registry.latest_ttl_ms", self.latest_ttl_ms, 60_000, 0, 3_600_000)?,
            unknown_ttl: ms("registry.unknown_ttl_ms", self.unknown_ttl_ms, 5_000, 0, 60_000)?,
        }))
    }

    /// The embedded registry, which none of the options for an external one can mean.
    fn embedded(&self) -> Result<RegistrySettings, ConfigError> {
        let external = [
            ("registry.auth", self.auth.is_some()),
            ("registry.ca_file", self.ca_file.is_some()),
            ("registry.timeout_ms", self.timeout_ms.is_some()),
            ("registry.latest_ttl_ms", self.latest_ttl_ms.is_some()),
            ("registry.unknown_ttl_ms", self.unknown_ttl_ms.is_some()),
        ];
        match external.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => {
                let problem = "it is about an external registry: set registry.url too, or remove it".to_owned();
                Err(ConfigError { key, problem })
            }
            None => Ok(RegistrySettings::Embedded {
                listen: self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))),
            }),
        }
    }
}

impl RegistryAuthOptions {
    fn resolve(&self) -> Result<RegistryAuth, ConfigError> {
        let refuse = |key, problem: &str| Err(ConfigError { key, problem: problem.to_owned() });
        match (&self.basic, &self.bearer) {
            (Some(_), Some(_)) => refuse("registry.auth", "basic and bearer exclude each other: keep one"),
            (None, None) => refuse("registry.auth", "it is empty: give basic or bearer, or remove it"),
            (Some(basic), None) if basic.username.is_empty() => {
                refuse("registry.auth.basic.username", "it is missing: give a name, or remove registry.auth")
            }
            (Some(basic), None) if basic.username.contains(':') => {
                refuse("registry.auth.basic.username", "a name can't hold a colon in HTTP basic authentication")
            }
            (Some(basic), None) => Ok(RegistryAuth::Basic(basic.username.clone(), basic.password.clone())),
            (None, Some(token)) if token.0.is_empty() || !token.0.bytes().all(|b| b.is_ascii_graphic()) => {
                refuse("registry.auth.bearer", "a token has at least one character, and neither spaces nor line ends")
            }
            (None, Some(token)) => Ok(RegistryAuth::Bearer(token.clone())),
        }
    }
}

impl RemoteSettings {
    /// Whether credentials would go over a network unencrypted.
    pub fn credentials_in_clear(&self) -> bool {
        let loopback = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        self.auth != RegistryAuth::None && self.urls.iter().any(|url| url.scheme() == "http" && !loopback(url))
    }
}

impl fmt::Display for RemoteSettings {
    /// The nodes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(Url::as_str).collect();
        f.write_str(&urls.join(", "))
    }
}

fn ms(key: &'static str, given: Option<u64>, default: u64, min: u64, max: u64) -> Result<Duration, ConfigError> {
    let value = given.unwrap_or(default);
    if !(min..=max).contains(&value) {
        return Err(ConfigError { key, problem: format!("{value} is outside {min} to {max}") });
    }
    Ok(Duration::from_millis(value))
}

fn parse_urls(text: &str) -> Result<Vec<Url>, ConfigError> {
    let refuse = |problem: String| Err(ConfigError { key: "registry.url", problem });
    let parts: Vec<_> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.len() > MAX_URLS {
        return refuse(format!("it names {} URLs: give 1 to {MAX_URLS}, separated by commas", parts.len()));
    }
    let mut urls = Vec::with_capacity(parts.len());
    for (number, part) in (1..).zip(parts) {
        // The text may hold a password, so it is not repeated.
        match Url::parse(part) {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return refuse(format!("URL {number} holds credentials: move them to registry.auth"));
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                return refuse(format!("URL {number} has a query or fragment: remove what stands after ? or #"));
            }
            Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                let path = url.path().trim_end_matches('/').to_owned();
                url.set_path(&path);
                urls.push(url);
            }
            _ => return refuse(format!("URL {number} is none: write http://HOST:PORT or https://HOST:PORT")),
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(yaml_as_json: &str) -> Result<RegistrySettings, String> {
        let options: RegistryOptions = serde_json::from_str(yaml_as_json).map_err(|e| e.to_string())?;
        options.settings(Path::new("/etc/forebay")).map_err(|e| e.to_string())
    }

    fn remote(text: &str) -> RemoteSettings {
        match resolve(text).unwrap() {
            RegistrySettings::Remote(remote) => remote,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults() {
        let RegistrySettings::Embedded { listen } = resolve("{}").unwrap() else { panic!("not embedded") };
        assert_eq!(listen.to_string(), "127.0.0.1:8081");
        let remote = remote(r#"{"url": "http://r:8081"}"#);
        assert_eq!(remote.auth, RegistryAuth::None);
        let ms = |d: Duration| d.as_millis();
        assert_eq!((ms(remote.timeout), ms(remote.latest_ttl), ms(remote.unknown_ttl)), (5_000, 60_000, 5_000));
    }

    #[test]
    fn urls_are_nodes_with_their_path() {
        let remote = remote(r#"{"url": "https://a:8081/, http://b/apis/ccompat/v7/", "ca_file": "tls/ca.pem"}"#);
        let urls: Vec<_> = remote.urls.iter().map(Url::as_str).collect();
        assert_eq!(urls, ["https://a:8081/", "http://b/apis/ccompat/v7"]);
        assert_eq!(remote.ca_file.as_deref(), Some(Path::new("/etc/forebay/tls/ca.pem")));
    }

    #[test]
    fn refusals_name_the_key_and_the_way_out() {
        for (options, says) in [
            (r#"{"url": "x"}"#, "registry.url: URL 1 is none: write http://"),
            (r#"{"url": "file:///etc"}"#, "registry.url: URL 1 is none"),
            (r#"{"url": " , "}"#, "registry.url: it names 0 URLs"),
            (r#"{"url": "http://a,http://u:hunter2@b"}"#, "registry.url: URL 2 holds credentials: move them"),
            (r#"{"url": "http://a?x=1"}"#, "registry.url: URL 1 has a query"),
            (r#"{"url": "http://a", "listen": "127.0.0.1:1"}"#, "registry.listen: an external registry"),
            (r#"{"url": "http://a", "timeout_ms": 99}"#, "registry.timeout_ms: 99 is outside 100 to 60000"),
            (r#"{"url": "http://a", "latest_ttl_ms": 3600001}"#, "registry.latest_ttl_ms: "),
            (r#"{"url": "http://a", "auth": {}}"#, "registry.auth: it is empty"),
            (r#"{"url": "http://a", "auth": {"basic": {"password": "hunter2"}}}"#, "registry.auth.basic.username: "),
            (r#"{"url": "http://a", "auth": {"basic": {"username": "a:b"}}}"#, "colon"),
            (r#"{"url": "http://a", "auth": {"bearer": "hunter2\n"}}"#, "registry.auth.bearer: "),
            (
                r#"{"url": "http://a", "auth": {"bearer": "hunter2", "basic": {"username": "u"}}}"#,
                "registry.auth: basic and bearer exclude each other",
            ),
            (r#"{"auth": {"bearer": "hunter2"}}"#, "registry.auth: it is about an external registry: set registry.url"),
            (r#"{"ca_file": "x"}"#, "registry.ca_file: "),
            (r#"{"token": "x"}"#, "unknown field"),
        ] {
            let problem = resolve(options).expect_err(options);
            assert!(problem.contains(says), "{options}: {problem}");
            assert!(!problem.contains("hunter2"), "{options}: {problem}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        for auth in [r#"{"bearer": "hunter2"}"#, r#"{"basic": {"username": "u", "password": "hunter2"}}"#] {
            let settings = remote(&format!(r#"{{"url": "http://a", "auth": {auth}}}"#));
            assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
        }
    }

    #[test]
    fn credentials_in_clear_are_noticed() {
        for (url, clear) in
            [("http://r:8081", true), ("https://r", false), ("http://127.0.0.1:1", false), ("https://a,http://b", true)]
        {
            let settings = remote(&format!(r#"{{"url": "{url}", "auth": {{"bearer": "t"}}}}"#));
            assert_eq!(settings.credentials_in_clear(), clear, "{url}");
        }
        assert!(!remote(r#"{"url": "http://r"}"#).credentials_in_clear());
    }
}
