//! The body of a response that has passed a limiter.

use super::settle::Settlement;
use crate::shared::{ResponseBody, Said};
use bartizan_store::Throttle;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
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
        // A refusal as well: with a kind of its own a boxed body would grow by a word, and each response that passes, of the
        // size that is moved without a call until then, would cost 100 instructions more. The box costs a refusal 120.
        Other { other: Pin<Box<Other<B, T>>> },
    }
}

pin_project! {
    #[project = OtherProj]
    enum Other<B, T: Throttle> {
        Said { said: Said },
        Settled { #[pin] body: ResponseBody<B, Settlement<T>> },
    }
}

// ===== impl LimitedBody =====

impl<B, T: Throttle> LimitedBody<B, T> {
    #[inline]
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(super) fn said(said: Said) -> Self {
        Self::other(Other::Said { said })
    }

    pub(super) fn settled(body: B, settlement: Settlement<T>) -> Self
    where
        B: Body,
    {
        Self::other(Other::Settled { body: ResponseBody::inner(body).watched_by(settlement) })
    }

    fn other(other: Other<B, T>) -> Self {
        Self { kind: Kind::Other { other: Box::pin(other) } }
    }
}

/// Empty: what a layer further out answers with when it makes a response of its own, as tower-http's CORS does.
impl<B, T: Throttle> Default for LimitedBody<B, T> {
    fn default() -> Self {
        Self::said(Said::default())
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
            KindProj::Other { other } => other.as_mut().poll_frame(cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Other { other } => other.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Other { other } => other.size_hint(),
        }
    }
}

/// Apart from what most bodies do, which so is short enough to be inlined; and a refusal apart from what is settled.
impl<B, T> Other<B, T>
where
    B: Body,
    B::Data: From<Bytes>,
    T: Throttle,
{
    #[inline(never)]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            OtherProj::Said { said } => match said.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                None => Poll::Ready(None),
            },
            OtherProj::Settled { body } => poll_settled(body, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Said { said } => said.is_empty(),
            Self::Settled { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Said { said } => SizeHint::with_exact(said.len() as u64),
            Self::Settled { body } => body.size_hint(),
        }
    }
}

#[inline(never)]
fn poll_settled<B: Body>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
    body.poll_frame(cx)
}

impl<B, T: Throttle> fmt::Debug for LimitedBody<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedBody")
    }
}
