//! `curl -si -H 'x-request-timeout-ms: 500' 127.0.0.1:3000/`
//!
//! The handler asks a service that takes a second, and tells it how long it has. With half a second nobody waits for it:
//! 504 with the code `deadline`. Without the field there are 30 seconds.

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use bartizan::{
    Deadline, TrustedProxies,
    bridge::axum::with_peer_addr,
    deadline::{DeadlineLayer, PropagateDeadlineLayer},
    timeout::TimeoutLayer,
};
use std::{convert::Infallible, time::Duration};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let deadline = DeadlineLayer::new(Duration::from_secs(30)).trust(TrustedProxies::new(["127.0.0.0/8"])?);
    let stack = ServiceBuilder::new().layer(deadline).layer(TimeoutLayer::new(Duration::from_secs(30)));
    let app = Router::new().route("/", get(ask)).layer(stack);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, with_peer_addr(app)).await?)
}

async fn ask(incoming: Request) -> impl axum::response::IntoResponse {
    let mut outgoing = Request::new(Body::empty());
    if let Some(deadline) = Deadline::of(incoming.extensions()) {
        deadline.tighten(outgoing.extensions_mut());
    }
    let client = ServiceBuilder::new().layer(PropagateDeadlineLayer::new()).service_fn(answer);
    client.oneshot(outgoing).await
}

/// In the place of a client of another service.
async fn answer(request: Request) -> Result<Response, Infallible> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let millis = request.headers()["x-request-timeout-ms"].to_str().unwrap_or("no");
    Ok(Response::new(format!("I was given {millis} ms\n").into()))
}
