//! The body of a response that has passed a limiter.

use super::settle::Settlement;
use crate::shared::ResponseBody;
use bartizan_store::Throttle;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

pin_project! {
    /// A response body: the service's own; or, behind a box, one that is settled when it ends, or that of a refusal.
    ///
    /// Most pass with nothing to settle, and carry no room for it.
    pub struct LimitedBody<B, T: Throttle> {
        #[pin]
        kind: Kind<B, T>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B, T: Throttle> {
        Inner { #[pin] body: B },
        Other { body: Pin<Box<Other<B, T>>> },
    }
}

pin_project! {
    #[project = OtherProj]
    enum Other<B, T: Throttle> {
        Own { bytes: Bytes },
        Settled { #[pin] body: ResponseBody<B, Settlement<T>> },
    }
}

// ===== impl LimitedBody =====

impl<B, T: Throttle> LimitedBody<B, T> {
    #[inline]
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(super) fn own(bytes: Bytes) -> Self {
        Self { kind: Kind::Other { body: Box::pin(Other::Own { bytes }) } }
    }

    pub(super) fn settled(body: B, settlement: Settlement<T>) -> Self
    where
        B: Body,
    {
        let body = ResponseBody::inner(body).watched_by(settlement);
        Self { kind: Kind::Other { body: Box::pin(Other::Settled { body }) } }
    }
}

/// Empty: what a layer further out answers with when it makes a response of its own, as tower-http's CORS does.
impl<B, T: Throttle> Default for LimitedBody<B, T> {
    fn default() -> Self {
        Self::own(Bytes::new())
    }
}

impl<B, T> Body for LimitedBody<B, T>
where
    B: Body,
    B::Data: From<Bytes>,
    T: Throttle,
{
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Other { body } => body.as_mut().poll_frame(cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Other { body } => match &**body {
                Other::Settled { body } => body.is_end_stream(),
                Other::Own { bytes } => bytes.is_empty(),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Other { body } => match &**body {
                Other::Settled { body } => body.size_hint(),
                Other::Own { bytes } => SizeHint::with_exact(bytes.len() as u64),
            },
        }
    }
}

impl<B, T> Other<B, T>
where
    B: Body,
    B::Data: From<Bytes>,
    T: Throttle,
{
    /// Apart from what most bodies do, which so is short enough to be inlined.
    #[inline(never)]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            OtherProj::Settled { body } => body.poll_frame(cx),
            OtherProj::Own { bytes } if bytes.is_empty() => Poll::Ready(None),
            OtherProj::Own { bytes } => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes).into())))),
        }
    }
}

impl<B, T: Throttle> fmt::Debug for LimitedBody<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedBody")
    }
}
