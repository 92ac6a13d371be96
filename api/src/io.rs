//! A connection's socket as hyper sees it: it tells the connection's clock what passes, and lingers when it closes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep},
};

use crate::conn::Conn;

/// How long a closing connection waits for more of what the client sends, so that it gets the answer before the reset
/// (fixed).
const LINGER_PAUSE: Duration = Duration::from_secs(1);
/// How long it reads on at most (fixed). It counts as a connection meanwhile, and keeps nothing of what it reads.
const LINGER: Duration = Duration::from_secs(10);
/// How many bytes it reads on at most (fixed): many clients send a body whole before they read any answer.
const LINGER_BYTES: usize = 64 << 20;

/// A socket that keeps its connection's clock, and lingers when it closes.
#[derive(Debug)]
pub(crate) struct Io {
    tcp: TokioIo<TcpStream>,
    conn: Arc<Conn>,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    /// When to read on no longer.
    end: Instant,
    /// The end of the pause, no later than that.
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Io {
    pub(crate) fn new(tcp: TcpStream, conn: Arc<Conn>) -> Self {
        Self { tcp: TokioIo::new(tcp), conn, linger: None }
    }

    fn note_write<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.conn.written(polled.is_pending());
        polled
    }
}

impl Read for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if polled.is_ready() {
            self.conn.bytes_read();
        }
        polled
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    /// Closes our side, then reads what is still coming, for a while: a socket that is closed over unread bytes sends a
    /// reset, and a reset can overtake the answer (a 413 that the client never sees).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
            let until = Box::pin(tokio::time::sleep(LINGER_PAUSE));
            self.linger = Some(Linger { end: Instant::now() + LINGER, until, bytes_left: LINGER_BYTES });
        }
        let Self { tcp, linger: Some(linger), .. } = &mut *self else { return Poll::Ready(Ok(())) };
        let mut scratch = [0; 8 << 10];
        while linger.bytes_left > 0 && Instant::now() < linger.end {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *tcp).poll_read(cx, buf.unfilled()) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.bytes_left = linger.bytes_left.saturating_sub(buf.filled().len());
                    linger.until.as_mut().reset(linger.end.min(Instant::now() + LINGER_PAUSE));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(linger.until.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
