//! A request's body as checked text: admitted before it is read, limited on the wire and while it is inflated, in time.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use zstd::{
    stream::{raw, zio},
    zstd_safe::DParameter,
};

use crate::{
    admission::{Admission, Full, Permit, STEP_BYTES},
    problem::{Code, Problem},
};

/// Largest zstd window, 2^23 = 8 MiB, as RFC 9659 fixes it for this content coding.
const ZSTD_WINDOW_LOG: u32 = 23;

/// What a decoder itself takes at most before it has given out a byte (its tables and buffers).
const DECODER_BYTES: usize = 4 * STEP_BYTES;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub wire_bytes: usize,
    pub inflated_bytes: usize,
    pub timeout: Duration,
}

/// UTF-8 text of a body, and its share of the admission while it is held.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: Bytes,
    permit: Permit,
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        // Checked in `read`; the second check is cheaper than keeping both a String and a Bytes variant.
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// Lets the text go and keeps its share, for what was made of it.
    pub(crate) fn into_permit(self) -> Permit {
        self.permit
    }
}

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Reads a body. Decides on Content-Length before it asks for a byte (so `Expect: 100-continue` is never answered in
/// vain); bodies of unknown or compressed size reserve in steps as they grow.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    limits: &BodyLimits,
    admission: &Arc<Admission>,
) -> Result<Text, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let coding = coding(headers)?;
    let length = body.size_hint().exact().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    if length.is_some_and(|n| n > limits.wire_bytes) {
        return Err(too_large(Code::BodyTooLarge, limits.wire_bytes));
    }
    let first = match (coding, length) {
        (Coding::Identity, Some(length)) => length,
        (Coding::Identity, None) => STEP_BYTES,
        _ => DECODER_BYTES,
    };
    let mut permit = admission.admit(first).map_err(|Full| queue_full())?;
    let reading = async {
        match coding {
            Coding::Identity => read_plain(body, limits, &mut permit).await,
            Coding::Gzip => inflate(body, limits, GzDecoder::new(Inflated::new(limits, &mut permit))).await,
            Coding::Zstd => inflate(body, limits, zstd_decoder(Inflated::new(limits, &mut permit))?).await,
        }
    };
    let bytes = tokio::time::timeout(limits.timeout, reading).await.map_err(|_| body_timeout(limits))??;
    match std::str::from_utf8(&bytes) {
        Ok(_) => Ok(Text { bytes, permit }),
        Err(error) => Err(Problem::new(
            Code::BadEncoding,
            format!("The body is not UTF-8: the byte at position {} begins no character.", error.valid_up_to()),
        )),
    }
}

/// The one coding of a body. Several codings, in one header or in two, are refused: each layer would multiply.
fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let (value, second) = (values.next(), values.next());
    match (value.map(|v| v.as_bytes().to_ascii_lowercase()).as_deref(), second) {
        (None | Some(b"" | b"identity"), None) => Ok(Coding::Identity),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(Coding::Gzip),
        (Some(b"zstd"), None) => Ok(Coding::Zstd),
        _ => Err(Problem::new(
            Code::UnsupportedEncoding,
            "Content-Encoding takes exactly one of gzip and zstd; send the body plain or in one of them.",
        )),
    }
}

/// The next data frame; `None` at the end.
async fn next_chunk<B>(body: &mut B, wire: &mut usize, limits: &BodyLimits) -> Result<Option<Bytes>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(broken_framing()),
            Some(Ok(frame)) => {
                // Trailers mean nothing here.
                let Ok(chunk) = frame.into_data() else { continue };
                *wire = wire.saturating_add(chunk.len());
                if *wire > limits.wire_bytes {
                    return Err(too_large(Code::BodyTooLarge, limits.wire_bytes));
                }
                return Ok(Some(chunk));
            }
        }
    }
}

/// A body as sent. One that came in one piece is not copied.
async fn read_plain<B>(mut body: B, limits: &BodyLimits, permit: &mut Permit) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let mut wire = 0;
    let Some(first) = next_chunk(&mut body, &mut wire, limits).await? else { return Ok(Bytes::new()) };
    permit.cover(wire).map_err(|Full| queue_full())?;
    let Some(second) = next_chunk(&mut body, &mut wire, limits).await? else { return Ok(first) };
    let mut all = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        permit.cover(wire).map_err(|Full| queue_full())?;
        all.extend_from_slice(&chunk);
        next = next_chunk(&mut body, &mut wire, limits).await?;
    }
    Ok(all.freeze())
}

/// Takes inflated bytes up to the limit and the admission; the write that would pass either fails.
#[derive(Debug)]
struct Inflated<'a> {
    out: Vec<u8>,
    max: usize,
    permit: &'a mut Permit,
    refused: Option<Problem>,
}

impl<'a> Inflated<'a> {
    fn new(limits: &BodyLimits, permit: &'a mut Permit) -> Self {
        Self { out: Vec::new(), max: limits.inflated_bytes, permit, refused: None }
    }

    fn room_for(&mut self, bytes: usize) -> Result<(), Problem> {
        let total = self.out.len().saturating_add(bytes);
        if total > self.max {
            return Err(too_large(Code::InflatedTooLarge, self.max));
        }
        self.permit.cover(DECODER_BYTES + total).map_err(|Full| queue_full())
    }
}

impl Write for Inflated<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if let Err(problem) = self.room_for(buf.len()) {
            self.refused = Some(problem);
            return Err(io::Error::other("refused"));
        }
        self.out.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A decoder that pushes into [`Inflated`].
trait Inflate<'a>: Write {
    /// Checks that the stream is whole.
    fn finish(&mut self) -> io::Result<()>;
    fn sink(&mut self) -> &mut Inflated<'a>;
}

/// One gzip member: members cost more to begin than to send, so that a row of empty ones would be an attack.
impl<'a> Inflate<'a> for GzDecoder<Inflated<'a>> {
    fn finish(&mut self) -> io::Result<()> {
        self.try_finish()
    }

    fn sink(&mut self) -> &mut Inflated<'a> {
        self.get_mut()
    }
}

type ZstdDecoder<'a> = zio::Writer<Inflated<'a>, raw::Decoder<'static>>;

impl<'a> Inflate<'a> for ZstdDecoder<'a> {
    fn finish(&mut self) -> io::Result<()> {
        Self::finish(self)
    }

    fn sink(&mut self) -> &mut Inflated<'a> {
        self.writer_mut()
    }
}

fn zstd_decoder(sink: Inflated<'_>) -> Result<ZstdDecoder<'_>, Problem> {
    let build = || {
        let mut decoder = raw::Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok::<_, io::Error>(decoder)
    };
    let decoder = build().map_err(|_| Problem::new(Code::Internal, "The zstd decoder can't be set up."))?;
    Ok(zio::Writer::new_with_capacity(sink, decoder, STEP_BYTES / 2))
}

async fn inflate<'a, B, D>(mut body: B, limits: &BodyLimits, mut decoder: D) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
    D: Inflate<'a>,
{
    let mut wire = 0;
    while let Some(chunk) = next_chunk(&mut body, &mut wire, limits).await? {
        if decoder.write_all(&chunk).is_err() {
            return Err(refusal(decoder.sink()));
        }
    }
    // An empty body is no stream of either coding, but no harm either: it is refused as an empty body later.
    if wire > 0 && decoder.finish().is_err() {
        return Err(refusal(decoder.sink()));
    }
    Ok(Bytes::from(std::mem::take(&mut decoder.sink().out)))
}

/// Why a write failed: a limit of ours, or else a broken stream.
fn refusal(sink: &mut Inflated<'_>) -> Problem {
    sink.refused.take().unwrap_or_else(|| {
        Problem::new(
            Code::BadEncoding,
            "The body can't be decompressed: it is cut off, damaged, more than one gzip member, or asks for a zstd window \
             over 8 MiB.",
        )
    })
}

fn too_large(code: Code, max: usize) -> Problem {
    let what = if code == Code::InflatedTooLarge { "after decompression" } else { "on the wire" };
    Problem::new(code, format!("The body is over {max} bytes {what}: send fewer events a request."))
}

fn queue_full() -> Problem {
    Problem::new(Code::QueueFull, "Too many request bodies are in flight: try again shortly.")
}

fn body_timeout(limits: &BodyLimits) -> Problem {
    Problem::new(Code::BodyTimeout, format!("The body was not complete after {} s.", limits.timeout.as_secs_f32()))
}

fn broken_framing() -> Problem {
    Problem::new(Code::AmbiguousRequest, "The body ended early, or its framing is broken.")
}
