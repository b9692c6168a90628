//! Several upstreams, told apart by the host that a request names.

use super::{
    body::UpstreamBody,
    error::{SendError, UpstreamError},
    future::Answering,
    service::Upstream,
};
use axum::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Several upstreams as one service: a request for `http://orders/…` goes to the upstream with the name `orders`.
///
/// So one [`Aggregate`](crate::Aggregate) asks several of them, each with policies of its own. A request that names
/// none of them is an error.
///
/// ```
/// use bartizan_gateway::{Aggregate, Source, Upstream, Upstreams};
///
/// let upstreams = Upstreams::new([
///     Upstream::new("users", ["http://127.0.0.1:7101"])?,
///     Upstream::new("orders", ["http://127.0.0.1:7102", "http://127.0.0.1:7103"])?,
/// ])?;
/// let dashboard = Aggregate::new(upstreams, [
///     Source::get("user", "http://users/users/{user}").required(),
///     Source::get("orders", "http://orders/orders?user={user}").collection(),
/// ])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Upstreams {
    all: Arc<[Upstream]>,
}

// ===== impl Upstreams =====

impl Upstreams {
    /// These upstreams, each of which has a name of its own.
    ///
    /// # Errors
    /// If two have the same name.
    pub fn new(upstreams: impl IntoIterator<Item = Upstream>) -> Result<Self, UpstreamError> {
        let all: Arc<[Upstream]> = upstreams.into_iter().collect();
        for (index, upstream) in all.iter().enumerate() {
            if all[..index].iter().any(|earlier| earlier.name() == upstream.name()) {
                return Err(UpstreamError::new(upstream.name(), "another has the same name"));
            }
        }
        Ok(Self { all })
    }

    /// The one with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Upstream> {
        self.all.iter().find(|upstream| upstream.name().eq_ignore_ascii_case(name))
    }

    /// All of them, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Upstream> {
        self.all.iter()
    }
}

impl<B> Service<Request<B>> for Upstreams
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<UpstreamBody>;
    type Error = SendError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let name = request.uri().host().unwrap_or_default();
        match self.get(name) {
            Some(upstream) => upstream.send(request),
            None => {
                tracing::error!(name, "a request names no upstream that there is");
                Answering::failed(SendError::unknown(name))
            }
        }
    }
}
