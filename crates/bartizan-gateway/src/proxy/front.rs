//! What a request loses before something in front of the proxy reads it.

use super::{
    fields::{is_claim, strip_claims, strip_named},
    how::How,
};
use http::{Request, header};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};
use tower::Layer;
use tower_service::Service;

/// Takes out of each request what its service will not get: what `Connection` names, and what the client claims about
/// itself without being trusted. See [`Proxy::front`](super::Proxy::front).
#[derive(Clone)]
pub struct FrontLayer {
    how: Arc<How>,
}

/// The service of [`FrontLayer`].
#[derive(Clone)]
pub struct Front<S> {
    inner: S,
    how: Arc<How>,
}

impl FrontLayer {
    pub(super) fn new(how: Arc<How>) -> Self {
        Self { how }
    }
}

impl fmt::Debug for FrontLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for FrontLayer {
    type Service = Front<S>;

    fn layer(&self, inner: S) -> Front<S> {
        Front { inner, how: Arc::clone(&self.how) }
    }
}

impl<S> fmt::Debug for Front<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for Front<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        // Few requests have any of it.
        if request.headers().keys().any(|name| *name == header::CONNECTION || is_claim(name)) {
            let (mut head, body) = request.into_parts();
            strip_named(&mut head.headers, &self.how.keep);
            strip_claims(&mut head, self.how.forwarding, &self.how.trusted, &self.how.keep);
            request = Request::from_parts(head, body);
        }
        self.inner.call(request)
    }
}
