//! Certificates for servers of tests, by the command `openssl`.

use std::{ffi::OsString, fs, path::Path};

use crate::process;

/// Certificate of the authority.
pub const AUTHORITY: &str = "ca.pem";
/// Certificate of the server.
pub const OWN: &str = "node.crt";
/// Its key.
pub const KEY: &str = "node.key";
/// Its key, its certificate and the authority's in one file.
pub const KEY_AND_CHAIN: &str = "node.pem";

/// Makes an authority of its own, and a certificate for localhost and 127.0.0.1 that it signed: PEM files of these
/// names.
///
/// # Errors
/// There is no `openssl`, or a file can't be written.
pub fn make(home: &Path) -> anyhow::Result<()> {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    fs::write(home.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")?;
    for arguments in [
        format!("req -x509 {key} -days 30 -subj /CN=forebay-tests -keyout ca.key -out {AUTHORITY}"),
        format!("req {key} -subj /CN=localhost -keyout {KEY} -out node.csr"),
        format!(
            "x509 -req -in node.csr -CA {AUTHORITY} -CAkey ca.key -CAcreateserial -days 30 -extfile names -out {OWN}"
        ),
    ] {
        let command: Vec<OsString> = ["openssl"].into_iter().chain(arguments.split(' ')).map(OsString::from).collect();
        process::run("openssl", home, &command)?;
    }
    let parts = [KEY, OWN, AUTHORITY].map(|part| fs::read_to_string(home.join(part)));
    let parts: Vec<_> = parts.into_iter().collect::<Result<_, _>>()?;
    Ok(fs::write(home.join(KEY_AND_CHAIN), parts.concat())?)
}
