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
    /// A response body: the service's own; or that of a refusal; or, behind a box, one that is settled when it ends.
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
        Plain { #[pin] body: ResponseBody<B> },
        Settled { body: Pin<Box<ResponseBody<B, Settlement<T>>>> },
    }
}

// ===== impl LimitedBody =====

impl<B, T: Throttle> LimitedBody<B, T> {
    #[inline]
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Plain { body: ResponseBody::inner(body) } }
    }

    #[inline]
    pub(super) fn said(said: Said) -> Self {
        Self { kind: Kind::Plain { body: ResponseBody::said(said) } }
    }

    pub(super) fn settled(body: B, settlement: Settlement<T>) -> Self
    where
        B: Body,
    {
        Self { kind: Kind::Settled { body: Box::pin(ResponseBody::inner(body).watched_by(settlement)) } }
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
            KindProj::Plain { body } => body.poll_frame(cx),
            KindProj::Settled { body } => poll_settled(body.as_mut(), cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Settled { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Settled { body } => body.size_hint(),
        }
    }
}

/// Apart from what most bodies do, which so is short enough to be inlined.
#[inline(never)]
fn poll_settled<B: Body>(body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
    body.poll_frame(cx)
}

impl<B, T: Throttle> fmt::Debug for LimitedBody<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedBody")
    }
}
