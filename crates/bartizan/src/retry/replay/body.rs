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
use tokio::time::Instant;

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
        // Boxed, so that a request of which nothing is kept carries no room for it. Without a reader it is empty.
        Shared { reader: Option<Box<Reader<B>>> },
    }
}

// ===== impl Replay =====

impl<B: Body> Replay<B> {
    /// Of an empty body.
    #[inline]
    pub(in crate::retry) const fn empty() -> Self {
        Self(None)
    }

    /// Makes `body` one that can be sent again, and the body of the first attempt. An empty one costs nothing.
    #[inline]
    pub(in crate::retry) fn keep(&mut self, body: B, most: usize, memory: &ReplayMemory) -> RequestBody<B> {
        if body.is_end_stream() {
            return RequestBody::own(body);
        }
        self.0 = Some(Arc::new(Log::new(body, most, memory)));
        self.read()
    }

    /// The body of one more attempt, beside those that are being read.
    pub(in crate::retry) fn read(&self) -> RequestBody<B> {
        RequestBody { kind: Kind::Shared { reader: self.0.as_ref().map(|log| Box::new(log.open())) } }
    }

    /// Whether another attempt can be made after an error: all that was read is there, and the rest comes. After an
    /// answer: if it came while the body was half read, the two belong together. One that was not begun waited for a
    /// `100 Continue`, or for nothing.
    pub(in crate::retry) fn can_repeat(&self, is_answered: bool) -> bool {
        self.0.as_ref().is_none_or(|log| log.can_repeat(is_answered))
    }

    /// When the last came of what had to be waited for; `None` if all was there when it was asked for.
    pub(in crate::retry) fn came(&self) -> Option<Instant> {
        self.0.as_ref()?.came()
    }

    /// Gives up what earlier attempts still read, if another one can still be made: they may have read on meanwhile.
    pub(in crate::retry) fn take_over(&self, is_answered: bool) -> bool {
        self.0.as_ref().is_none_or(|log| log.take_over(is_answered))
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
    #[inline]
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
            KindProj::Shared { reader } => reader.as_mut().map_or(Poll::Ready(None), |reader| reader.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { body } => body.is_end_stream(),
            Kind::Shared { reader } => reader.as_ref().is_none_or(|reader| reader.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { body } => body.size_hint(),
            Kind::Shared { reader } => reader.as_ref().map_or(SizeHint::with_exact(0), |reader| reader.size_hint()),
        }
    }
}

/// Empty.
impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Shared { reader: None } }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}
