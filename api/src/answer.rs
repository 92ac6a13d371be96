//! An answer on its way out: what it holds until the client has taken it, and what its connection is told meanwhile.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{Error, body::Body, response::Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::conn::RequestGuard;

/// Most bytes handed to an HTTP/2 stream at a time (fixed). What was handed over stays in memory until the stream's
/// window has room for it; and the slowest client that is waited for takes one piece in each write time-out.
const PIECE_BYTES: usize = 16 << 10;

/// A route's permit that its answer keeps until it was sent; travels as an extension of the response.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Held {
    /// Gives the permit to the answer.
    pub(crate) fn until_sent(permit: OwnedSemaphorePermit, response: &mut Response) {
        response.extensions_mut().insert(Self { _permit: Arc::new(permit) });
    }
}

/// An answer's body that holds its request's guards until the last byte was handed over.
pub(crate) struct Guarded<G> {
    body: Body,
    /// Of the last frame, what the stream did not get yet.
    rest: Bytes,
    request: RequestGuard,
    _held: Option<Held>,
    _guard: G,
}

impl<G> Guarded<G> {
    /// The answer, with the request's guard and another one.
    pub(crate) fn answer(mut response: Response, request: RequestGuard, guard: G) -> http::Response<Self> {
        let held = response.extensions_mut().remove();
        request.offered();
        response.map(|body| Self { body, rest: Bytes::new(), request, _held: held, _guard: guard })
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let bytes = if self.request.is_http2() { self.rest.len().min(PIECE_BYTES) } else { self.rest.len() };
        self.request.offered();
        Frame::data(self.rest.split_to(bytes))
    }
}

impl<G: Unpin> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        self.request.not_offered();
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.piece())))
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
