//! `curl -si 127.0.0.1:3000/good; curl -si 127.0.0.1:3000/down; curl -si 127.0.0.1:3000/slow; curl -si 127.0.0.1:3000/none`
//!
//! What the service cannot answer is answered with an empty list, and `x-fallback` says why: `503`, or `timeout`. What
//! it can answer passes, a 404 too.

use axum::{Router, extract::Path, routing::get};
use bartizan::{
    fallback::{FallbackLayer, fixed},
    timeout::TimeoutLayer,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use std::time::Duration;
use tower::ServiceBuilder;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let stack = ServiceBuilder::new()
        .layer(FallbackLayer::new(fixed(Response::new(Bytes::from_static(b"[]\n")))))
        .layer(TimeoutLayer::new(Duration::from_secs(1)));
    let app = Router::new().route("/{how}", get(recommend)).layer(stack);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

async fn recommend(Path(how): Path<String>) -> Result<&'static str, StatusCode> {
    match how.as_str() {
        "good" => Ok("[\"tea\"]\n"),
        "down" => Err(StatusCode::SERVICE_UNAVAILABLE),
        "slow" => std::future::pending().await,
        _ => Err(StatusCode::NOT_FOUND),
    }
}
