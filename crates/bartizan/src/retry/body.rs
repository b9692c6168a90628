//! The body of an answer.

use super::drain::Whole;
use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

pin_project! {
    /// The body of the inner service. Of a call of gRPC, the first frame may have been looked at; it still comes first.
    /// That of an answer which has failed, and is the last after all, was read before.
    ///
    /// Most are not looked at, and carry no room for what came.
    pub struct ResponseBody<B: Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B: Body> {
        Inner { #[pin] body: B },
        Looked { at: Box<LookedAt<B>> },
    }
}

/// A body that was polled, so that it cannot be moved any more.
struct LookedAt<B: Body> {
    first: Option<First<B>>,
    then: Whole<B>,
    rest: Option<Pin<Box<B>>>,
}

/// What has come out of the body already.
pub(super) type First<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

// ===== impl ResponseBody =====

impl<B: Body> ResponseBody<B> {
    #[inline]
    pub(super) fn untouched(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// A body that was polled, and what came of that; `None` if it was nothing yet.
    pub(super) fn looked_at(came: Option<Option<First<B>>>, body: Pin<Box<B>>) -> Self {
        let (first, rest) = match came {
            None => (None, Some(body)),
            Some(Some(first)) => (Some(first), Some(body)),
            Some(None) => (None, None),
        };
        Self { kind: Kind::Looked { at: Box::new(LookedAt { first, then: Whole::<B>::new(), rest }) } }
    }

    /// A body that was read.
    pub(super) fn whole(frames: Whole<B>) -> Self {
        Self { kind: Kind::Looked { at: Box::new(LookedAt { first: None, then: frames, rest: None }) } }
    }
}

/// Empty.
impl<B: Body> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::whole(Whole::<B>::new())
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<First<B>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Looked { at } => at.poll_frame(cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Looked { at } => at.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Looked { at } => at.size_hint(),
        }
    }
}

// ===== impl LookedAt =====

impl<B: Body> LookedAt<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<First<B>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Some(frame) = self.then.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.rest.as_mut().map_or(Poll::Ready(None), |rest| rest.as_mut().poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.then.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok());
        let data = first.into_iter().chain(&self.then).filter_map(Frame::data_ref);
        let bytes = data.map(|data| data.remaining() as u64).sum();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(bytes));
        }
        hint.set_lower(rest.lower().saturating_add(bytes));
        hint
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}
