//! One HTTP request with std alone: for readiness, for toxiproxy's own API, and for tests of the components.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For connecting, and for each read and write.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read; what follows is dropped.
const ANSWER_BYTES: u64 = 1 << 20;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// Sends `body` as JSON to `http://address` + `path`. HTTP/1.0, so that the answer ends with the connection.
///
/// # Errors
/// No connection, or no answer within 10 s.
pub fn request(method: &str, address: &str, path: &str, body: &str) -> Result<Answer> {
    let socket: SocketAddr = address.parse().map_err(|_| Error::new(ErrorKind::InvalidInput, "not host:port"))?;
    let mut stream = TcpStream::connect_timeout(&socket, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let length = body.len();
    // In one piece: written straight to the socket, each part of the format would be a packet of its own.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| Error::new(ErrorKind::InvalidData, "no HTTP answer"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}
