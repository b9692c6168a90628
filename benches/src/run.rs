//! Sending requests through a service, whatever its type.

use crate::{cases::Terms, fixture::Requests};
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::{fmt::Debug, future::poll_fn, hint::black_box, pin::pin};
use tower_service::Service;

/// A measurement: it runs once, over the service of one case, and says what it measured.
pub(crate) trait Run {
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String>;
}

/// A service that can be measured.
pub(crate) trait Subject:
    Service<Request<Body>, Response = Response<Self::Body>, Error: Debug, Future: Send> + Clone + Send + Sync + 'static
{
    type Body: http_body::Body<Data = Bytes, Error: Debug> + Send;
}

impl<S, B> Subject for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug, Future: Send> + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Debug> + Send,
{
    type Body = B;
}

/// Clones the service, as a server does for a connection, and calls it.
pub(crate) async fn call<S: Subject>(service: &S, request: Request<Body>) -> Response<S::Body> {
    let mut service = service.clone();
    poll_fn(|cx| service.poll_ready(cx)).await.expect("the service is ready");
    service.call(request).await.expect("the service answers")
}

/// Reads a body as hyper does: no further than `is_end_stream`.
pub(crate) async fn read<B>(body: B, mut with: impl FnMut(&Bytes))
where
    B: http_body::Body<Data = Bytes, Error: Debug>,
{
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        if let Some(data) = frame.expect("the body does not fail").data_ref() {
            with(data);
        }
    }
}

/// Sends `n` requests, one after the other.
pub(crate) async fn send<S: Subject>(service: &S, requests: &mut Requests, n: u32) {
    for _ in 0..n {
        let response = black_box(call(service, requests.next()).await);
        read(response.into_body(), |data| {
            black_box(data);
        })
        .await;
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}
