//! The load: prepared HTTP/1.1 requests over keep-alive connections, one in flight on each.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use forebay_bench::sample;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Bodies prepared ahead and sent again and again, so that the generator stays cheap.
const BODIES: usize = 64;

/// Sends `requests` requests of `size` events; fails on any answer but 200.
pub async fn send(port: u16, connections: usize, size: usize, requests: usize) -> Result<()> {
    let prepared: Arc<Vec<Vec<u8>>> = Arc::new((0..BODIES).map(|n| request(size, n)).collect());
    let left = Arc::new(AtomicUsize::new(requests));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(worker(port, prepared.clone(), left.clone()));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(())
}

fn request(size: usize, n: usize) -> Vec<u8> {
    let events: Vec<_> = (n * size..(n + 1) * size).map(|n| sample::event(n as u64)).collect();
    let (path, body) = match events.as_slice() {
        [event] => ("/api/v1/events/orders", event.clone()),
        _ => ("/api/v1/events/orders/batch", format!("{{\"events\":[{}]}}", events.join(","))),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

async fn worker(port: u16, prepared: Arc<Vec<Vec<u8>>>, left: Arc<AtomicUsize>) -> Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let mut answer = vec![0; 64 << 10];
    loop {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        let Ok(number) = taken else { return Ok(()) };
        socket.write_all(&prepared[number % prepared.len()]).await?;
        read_answer(&mut socket, &mut answer).await?;
    }
}

/// Reads one answer to its end and checks its status.
async fn read_answer(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    let mut filled = 0;
    let head = loop {
        filled += read(socket, buffer, filled).await?;
        if let Some(end) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    ensure!(text.starts_with("http/1.1 200"), "answer: {}", String::from_utf8_lossy(&buffer[..filled]));
    let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")).context("no content-length")?;
    let end = head + length.trim().parse::<usize>()?;
    while filled < end {
        filled += read(socket, buffer, filled).await?;
    }
    Ok(())
}

async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>, filled: usize) -> Result<usize> {
    if filled == buffer.len() {
        buffer.resize(filled * 2, 0);
    }
    match socket.read(&mut buffer[filled..]).await? {
        0 => bail!("the service closed the connection"),
        n => Ok(n),
    }
}
