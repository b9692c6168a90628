//! The body of an answer.

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
    pub struct ResponseBody<B: Body> {
        first: Option<Box<First<B>>>,
        #[pin]
        rest: Rest<B>,
    }
}

pin_project! {
    #[project = RestProj]
    enum Rest<B> {
        Inner { #[pin] body: B },
        // Looked at, so it cannot be moved any more.
        Pinned { body: Pin<Box<B>> },
        None,
    }
}

/// What has come out of the body already.
pub(super) type First<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

// ===== impl ResponseBody =====

impl<B: Body> ResponseBody<B> {
    #[inline]
    pub(super) fn untouched(body: B) -> Self {
        Self { first: None, rest: Rest::Inner { body } }
    }

    /// A body that was polled, and what came of that; `None` if it was nothing yet.
    pub(super) fn looked_at(came: Option<Option<First<B>>>, body: Pin<Box<B>>) -> Self {
        match came {
            None => Self { first: None, rest: Rest::Pinned { body } },
            Some(Some(first)) => Self { first: Some(Box::new(first)), rest: Rest::Pinned { body } },
            Some(None) => Self::empty(),
        }
    }

    pub(super) fn empty() -> Self {
        Self { first: None, rest: Rest::None }
    }
}

/// Empty.
impl<B: Body> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<First<B>>> {
        let this = self.project();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(*first));
        }
        match this.rest.project() {
            RestProj::Inner { body } => body.poll_frame(cx),
            RestProj::Pinned { body } => body.as_mut().poll_frame(cx),
            RestProj::None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none()
            && match &self.rest {
                Rest::Inner { body } => body.is_end_stream(),
                Rest::Pinned { body } => body.is_end_stream(),
                Rest::None => true,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Rest::Inner { body } => body.size_hint(),
            Rest::Pinned { body } => body.size_hint(),
            Rest::None => SizeHint::with_exact(0),
        };
        let Some(Ok(first)) = self.first.as_deref() else { return rest };
        let bytes = first.data_ref().map_or(0, |data| data.remaining() as u64);
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
