//! Who is asked: any Tower service that takes a request, and the plain client.

use crate::upstream::{IDLE, tcp};
use axum::{BoxError, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tower_service::Service;

/// The plain client: HTTP/1.1 over a pool of connections.
pub type Client = legacy::Client<HttpConnector, Body>;

/// What sends a request to a service: the plain [`client()`], or any cloneable Tower stack round one.
///
/// It is implemented for every service that fits, and clones of it are expected to share what they remember. A refusal
/// that a layer of the stack makes itself (a response with [`bartizan::Refusal`] in its extensions) is told from what
/// the service answers.
pub trait HttpService:
    Service<Request<Body>, Response = Response<<Self as HttpService>::Body>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// A plain client, with its own pool; its clones share the pool.
///
/// It gives up connecting after one second. An idle connection is kept for four seconds, less than servers commonly
/// keep theirs, so that a request seldom meets a connection that the other side has just closed.
#[must_use]
pub fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(tcp())
}
