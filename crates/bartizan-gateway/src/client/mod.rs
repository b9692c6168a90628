//! Who is asked: any Tower service that takes a request, and the plain client.

mod body;
mod connection;
mod error;
mod plain;
mod pool;

pub use self::{
    body::ClientBody,
    error::ClientError,
    plain::{Client, client},
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

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
