//! What `docs/order.md` says of two layers that swap, shown.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod cache;
mod inbound;
#[path = "../common/lines.rs"]
mod lines;
mod outbound;

use bartizan::rate_limit::Quota;
use http::{Request, Response, StatusCode, header, response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use lines::Lines;
use serde_json::Value;
use std::{convert::Infallible, error::Error, time::Duration};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Bytes = Full<bytes::Bytes>;

const ONE: Quota = Quota::per_hour(1);

async fn hello(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    Ok(Response::new(Bytes::from("hello")))
}

async fn panics(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    panic!("on purpose")
}

/// `service` inside of `inner`, inside of `outer`.
fn stack<O, I, F, Fut>(outer: O, inner: I, service: F) -> O::Service
where
    O: Layer<I::Service>,
    I: Layer<tower::util::ServiceFn<F>>,
    F: Fn(Request<Bytes>) -> Fut,
{
    ServiceBuilder::new().layer(outer).layer(inner).service(service_fn(service))
}

/// Sends a request, reads the answer to its end, and gives its head.
async fn send<S, B>(service: S, request: Request<Bytes>) -> response::Parts
where
    S: Service<Request<Bytes>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    assert!(body.collect().await.is_ok());
    head
}

fn get(path: &str) -> Request<Bytes> {
    Request::get(path).header("host", "h").body(Bytes::default()).unwrap()
}

fn get_for(tenant: &str) -> Request<Bytes> {
    Request::get("/").header("host", "h").header("x-tenant-id", tenant).body(Bytes::default()).unwrap()
}

/// The only line since the last look.
fn only(lines: &Lines) -> Value {
    let lines = lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap()
}
