//! `curl -si 127.0.0.1:3000/3; curl -si 127.0.0.1:3000/reports/3`
//!
//! A handler that takes as many seconds as the path says. Two are allowed, and five for reports: the first is a 504.

use axum::{Router, extract::Path, routing::get};
use bartizan::timeout::TimeoutLayer;
use std::time::Duration;
use tower::ServiceBuilder;
use tower_http::timeout::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let until_the_head = TimeoutLayer::new(Duration::from_secs(2))
        .limit_by(|head| head.uri.path().starts_with("/reports/").then_some(Duration::from_secs(5)));
    let stack = ServiceBuilder::new()
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(30)))
        .layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(30)))
        .layer(until_the_head);
    let app = Router::new().route("/{seconds}", get(wait)).route("/reports/{seconds}", get(wait)).layer(stack);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

async fn wait(Path(seconds): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    format!("that took {seconds} seconds\n")
}
