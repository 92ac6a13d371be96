//! HTTP/2 by hand (RFC 9113, RFC 7541): also what no library's client would do.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{PATIENCE, Service, event};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
/// :status 200, indexed.
const STATUS_200: u8 = 0x88;
/// SETTINGS_INITIAL_WINDOW_SIZE = 0.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

struct Frame {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
}

struct Client(TcpStream);

impl Client {
    async fn connect(service: &Service, settings: &[u8]) -> Self {
        let mut client = Self(service.connect().await);
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        client.send(SETTINGS, 0, 0, settings).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, stream]);
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// GET on a stream of an odd number.
    async fn get(&mut self, stream: u8, path: &str) {
        let mut block = vec![0x82, 0x86]; // :method GET, :scheme http
        for (name, value) in [(0x44, path), (0x41, "x")] {
            block.push(name); // :path, :authority
            block.push(u8::try_from(value.len()).unwrap());
            block.extend_from_slice(value.as_bytes());
        }
        self.send(HEADERS, 0x04 | END_STREAM, stream, &block).await;
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind: head[3], flags: head[4], stream: head[8], payload })
        };
        timeout(PATIENCE, read).await.expect("the connection stays open")
    }

    /// The headers of a stream's answer.
    async fn answered(&mut self, stream: u8) -> Vec<u8> {
        loop {
            let frame = self.frame().await.expect("no answer");
            if (frame.kind, frame.stream) == (HEADERS, stream) {
                return frame.payload;
            }
        }
    }
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    let service = Service::start().await;
    let mut client = Client::connect(&service, &[]).await;
    client.get(1, "/livez").await;
    assert_eq!(client.answered(1).await[0], STATUS_200);
}

#[tokio::test]
async fn a_large_answer_is_whole() {
    let service = Service::start().await;
    let expected = service.get("/openapi.json").await.text;
    assert!(expected.len() > 60_000, "more than one piece");
    let mut client = Client::connect(&service, &[0, 4, 0, 0x7f, 0xff, 0xff]).await;
    // And as much for the connection.
    client.send(8, 0, 0, &[0, 0x7f, 0, 0]).await;
    client.get(1, "/openapi.json").await;
    let mut text = Vec::new();
    loop {
        let frame = client.frame().await.expect("the answer is cut off");
        if frame.kind == DATA {
            text.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

/// Its socket takes all that is written, which is nothing: the stream has no window.
#[tokio::test]
async fn a_client_that_opens_no_window_is_cut_off_and_holds_no_drain() {
    let service = Service::start_with(|s| {
        s.settings.limits.body_timeout = Duration::from_millis(500);
        s.settings.drain.finish_by = PATIENCE * 2;
    })
    .await;
    let mut client = Client::connect(&service, &NO_WINDOW).await;
    for stream in [1, 3] {
        client.get(stream, "/openapi.json").await;
        assert_eq!(client.answered(stream).await[0], STATUS_200);
    }
    while client.frame().await.is_some() {}

    let mut client = Client::connect(&service, &NO_WINDOW).await;
    client.get(1, "/openapi.json").await;
    client.answered(1).await;
    let began = Instant::now();
    service.shutdown.cancel();
    assert_eq!(service.task.await.unwrap().requests_cut, 0);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn events_read_are_counted_until_their_answer_is_taken() {
    let service = Service::start_with(|s| {
        s.settings.limits.reads = 1;
        s.settings.limits.body_timeout = Duration::from_secs(3);
    })
    .await;
    assert_eq!(service.post("/api/v1/events/t", event("e").to_string()).await.status, 200);
    let mut client = Client::connect(&service, &NO_WINDOW).await;
    client.get(1, "/api/v1/events/t/latest").await;
    assert_eq!(client.answered(1).await[0], STATUS_200);
    service.get("/api/v1/events/t/latest").await.problem(503, "queue_full");
    while client.frame().await.is_some() {}
    let again = async {
        while service.get("/api/v1/events/t/latest").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the answer of a closed connection is held");
}
