//! The body of a response that a breaker watches.

use super::permit::{Blame, Permit};
use crate::shared::{ResponseBody, Said};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

pin_project! {
    /// A response body: the service's own, by whose end the breaker learns how the call went; or that of a refusal.
    pub struct WatchedBody<B> {
        #[pin]
        body: ResponseBody<B>,
        // Until it is known how the call went.
        permit: Option<Permit>,
    }
}

// ===== impl WatchedBody =====

impl<B> WatchedBody<B> {
    /// The body of the service, of which `permit` awaits the end.
    #[inline]
    pub(super) fn inner(body: B, permit: Option<Permit>) -> Self {
        Self { body: ResponseBody::inner(body), permit }
    }

    pub(super) fn said(said: Said) -> Self {
        Self { body: ResponseBody::said(said), permit: None }
    }
}

/// Empty: what a layer further out answers with when it makes a response of its own, as tower-http's CORS does.
impl<B> Default for WatchedBody<B> {
    fn default() -> Self {
        Self::said(Said::default())
    }
}

impl<B> Body for WatchedBody<B>
where
    B: Body,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        if this.permit.is_none() {
            return this.body.poll_frame(cx);
        }
        let blame = Blame::of_body(this.permit);
        let polled = this.body.as_mut().poll_frame(cx);
        blame.over();
        if let (Poll::Ready(frame), Some(permit)) = (&polled, &mut *this.permit) {
            // A server asks `is_end_stream` and may never poll for the `None` that would follow.
            let is_over = match frame {
                Some(Ok(frame)) => {
                    match frame.trailers_ref() {
                        None => permit.data(),
                        Some(trailers) => permit.trailers(trailers),
                    }
                    this.body.is_end_stream()
                }
                Some(Err(_)) => {
                    permit.broken();
                    true
                }
                None => true,
            };
            if is_over && let Some(permit) = this.permit.take() {
                permit.end();
            }
        }
        polled
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for WatchedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedBody")
    }
}
