//! `for i in 1 2 3 4 5 6; do curl -si 127.0.0.1:3000/ -d "order $i" | grep -iE '^HTTP|attempt'; done`
//!
//! A service that fails two times of three: the answers are fine until the budget is spent, ten retries in ten seconds.
//! A POST is sent again because it is given a key, and its body is kept while it streams.

use axum::{Router, body::Body, extract::Request, http::Response};
use bartizan::retry::{Attempt, Budget, RequestBody, RetryLayer, RetryPolicy};
use http_body_util::{BodyExt, Collected};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tower::{Layer, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let retry = RetryLayer::new(RetryPolicy::attempts(3))
        .budget(Budget::new().share(0.1).reserve_per_second(1))
        .idempotency_keys()
        .observe(|event| eprintln!("{event:?}"));

    let app = Router::new().fallback_service(retry.layer(service_fn(shaky)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

async fn shaky(request: Request<RequestBody<Body>>) -> Result<Response<Body>, Infallible> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let attempt = Attempt::of(request.extensions()).number();
    let order = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let status = if CALLS.fetch_add(1, Relaxed) % 3 == 2 { 200 } else { 503 };
    let text = format!("{order:?} at attempt {attempt}\n");
    Ok(Response::builder().status(status).body(Body::from(text)).expect("a valid status"))
}
