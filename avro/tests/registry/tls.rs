//! TLS: a registry whose certificate is of an authority of one's own.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use forebay_avro::registry::{Registry, RegistryError, Remote, config::RemoteSettings};

use crate::support::{eventually, settings};

/// `openssl s_server`, ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command
        .current_dir(dir)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_alone() {
    let dir = tempfile::tempdir().unwrap();
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem -out cert.pem \
               -subj /CN=registry -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    assert!(openssl(dir.path(), new).status().unwrap().success());
    // It serves files that are answers, by their whole target.
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"schema\":\"\\\"int\\\"\"}";
    std::fs::create_dir_all(dir.path().join("schemas/ids")).unwrap();
    std::fs::write(dir.path().join("schemas/ids/1?deleted=true"), answer).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let serve = format!("s_server -HTTP -quiet -accept {address} -cert cert.pem -key key.pem");
    let _server = Server(openssl(dir.path(), &serve).spawn().unwrap());
    eventually("it listens", || async { TcpStream::connect(address).is_ok() }).await;

    let url = format!("https://{address}");
    let ca_file = Some(dir.path().join("cert.pem"));
    let trusting = Remote::open(&RemoteSettings { ca_file, ..settings(&url) }).unwrap();
    assert_eq!(trusting.by_id(1).await.unwrap().schema.text(), "\"int\"");
    match Remote::open(&settings(&url)).unwrap().by_id(1).await {
        Err(RegistryError::Unavailable(why)) => {
            assert!(why.contains("TLS certificate that is not trusted") && why.contains("registry.ca_file"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}
