//! Part of an object as the body of a request: from memory, or read piece by piece from its temporary file.

use std::{
    fs::File,
    future::Future,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::super::store::Content;

/// Bytes read from the file at once.
const PIECE: u64 = 256 << 10;

/// `len` bytes from `at` on.
pub fn body(content: &Content, at: u64, len: u64) -> ByteStream {
    match content {
        Content::Memory(bytes) => {
            let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
            ByteStream::from(bytes.slice(index(at)..index(at + len)))
        }
        Content::File(file, _) => {
            let body = FileBody { file: Arc::clone(file), at, end: at + len, reading: None };
            ByteStream::new(SdkBody::from_body_1_x(body))
        }
    }
}

/// A range of a file; several may read it at once.
struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// Begins to read the next piece, where reading may block.
    fn read_on(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, at) = (Arc::clone(&self.file), self.at);
        let want = usize::try_from((self.end - at).min(PIECE)).unwrap_or_default();
        tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; want];
            file.read_exact_at(&mut piece, at)?;
            Ok(Bytes::from(piece))
        })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.read_on());
        let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let piece = read.map_err(io::Error::other).and_then(|piece| piece);
        if let Ok(piece) = &piece {
            self.at += piece.len() as u64;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn any_range_reads_the_same_from_memory_and_file() {
        let data: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        let contents = [Content::Memory(data.clone().into()), Content::File(Arc::new(file), data.len() as u64)];
        for (at, len) in [(0, 600_000), (0, 0), (1, 262_144), (599_999, 1), (300_000, 300_000)] {
            for content in &contents {
                let stream = body(content, at, len);
                assert_eq!(stream.size_hint(), (len, Some(len)));
                let read = stream.collect().await.unwrap().to_vec();
                assert!(read == data[at as usize..(at + len) as usize], "{at}+{len}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let content = Content::File(Arc::new(tempfile::tempfile().unwrap()), 10);
        assert!(body(&content, 0, 10).collect().await.is_err());
    }
}
