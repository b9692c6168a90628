//! The future of a cache: there at once, or the work of asking the origin.

use super::body::CacheBody;
use http::Response;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// The future of [`Cache`](super::Cache).
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<R, E>(State<R, E>);

enum State<R, E> {
    /// A stored response. Boxes nothing.
    Here(Option<Response<CacheBody<R>>>),
    /// The origin is asked.
    Away(Asking<R, E>),
}

pub(super) type Asking<R, E> = Pin<Box<dyn Future<Output = Result<Response<CacheBody<R>>, E>> + Send>>;

// ===== impl ResponseFuture =====

impl<R, E> ResponseFuture<R, E> {
    pub(super) fn here(response: Response<CacheBody<R>>) -> Self {
        Self(State::Here(Some(response)))
    }

    pub(super) fn away(asking: Asking<R, E>) -> Self {
        Self(State::Away(asking))
    }
}

/// Nothing in it is pinned in place.
impl<R, E> Unpin for ResponseFuture<R, E> {}

impl<R, E> Future for ResponseFuture<R, E> {
    type Output = Result<Response<CacheBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Here(response) => Poll::Ready(Ok(response.take().expect("polled after it was ready"))),
            State::Away(asking) => asking.as_mut().poll(cx),
        }
    }
}

impl<R, E> fmt::Debug for ResponseFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
