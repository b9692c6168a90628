//! The body of an attempt.

use super::{
    error::BodyError,
    log::{Log, Reader},
    memory::ReplayMemory,
};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A body that can be sent more than once: what every attempt takes its own from. An empty one needs no log.
pub(in crate::retry) struct Replay<B>(Option<Arc<Log<B>>>);

pin_project! {
    /// The body that the service inside a retry gets: the request's own, or one that is read along with it.
    ///
    /// Its frames are those of the request's body as they come, whatever the attempt; so are its trailers, and its size
    /// hint is as exact as that of the first.
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Own { #[pin] body: B },
        Shared { reader: Reader<B> },
        Empty,
    }
}

// ===== impl Replay =====

impl<B: Body> Replay<B> {
    /// Makes `body` one that can be sent again, and the body of the first attempt. An empty one costs nothing.
    pub(in crate::retry) fn new(body: B, most: usize, memory: &ReplayMemory) -> (RequestBody<B>, Self) {
        if body.is_end_stream() {
            return (RequestBody::own(body), Self(None));
        }
        let replay = Self(Some(Arc::new(Log::new(body, most, memory))));
        (replay.read(), replay)
    }

    /// The body of one more attempt, beside those that are being read.
    pub(in crate::retry) fn read(&self) -> RequestBody<B> {
        RequestBody { kind: self.0.as_ref().map_or(Kind::Empty, |log| Kind::Shared { reader: log.open() }) }
    }

    /// Gives up what earlier attempts still read.
    pub(in crate::retry) fn abandon(&self) {
        if let Some(log) = &self.0 {
            log.abandon();
        }
    }

    /// Whether another attempt can be made after an error: all that was read is there, and the rest comes.
    pub(in crate::retry) fn can_repeat(&self) -> bool {
        self.0.as_ref().is_none_or(|log| log.is_whole())
    }

    /// Whether another attempt can be made after an answer. If it came while the body was half read, the two belong
    /// together. One that was not begun waited for a `100 Continue`, or for nothing.
    pub(in crate::retry) fn can_repeat_after_answer(&self) -> bool {
        self.0.as_ref().is_none_or(|log| log.is_untouched() || log.is_whole() && log.is_read())
    }
}

/// No further attempt is made: nothing has to be kept for one.
impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Some(log) = &self.0 {
            log.close();
        }
    }
}

// ===== impl RequestBody =====

impl<B> RequestBody<B> {
    pub(in crate::retry) fn own(body: B) -> Self {
        Self { kind: Kind::Own { body } }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.project().kind.project() {
            KindProj::Own { body } => {
                let came = ready!(body.poll_frame(cx));
                let came =
                    came.map(|came| came.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))));
                Poll::Ready(came.map(|came| came.map_err(BodyError::source)))
            }
            KindProj::Shared { reader } => reader.poll_frame(cx),
            KindProj::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { body } => body.is_end_stream(),
            Kind::Shared { reader } => reader.is_end_stream(),
            Kind::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { body } => body.size_hint(),
            Kind::Shared { reader } => reader.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
        }
    }
}

/// Empty.
impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Empty }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}
