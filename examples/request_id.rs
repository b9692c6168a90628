//! `curl -si -H 'x-request-id: mine' 127.0.0.1:3000/`
//!
//! The answer tells an id twice: in the response field `x-request-id`, and in the body, where the handler put it. It is
//! a new one, unless you trust your own machine: `cargo run --example request_id -- 127.0.0.0/8`, and it is `mine`.

use axum::{Router, routing::get};
use bartizan::{RequestId, TrustedProxies, bridge::axum::with_peer_addr, request_id::RequestIdLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trusted = TrustedProxies::new(std::env::args().skip(1))?;
    let app = Router::new().route("/", get(hello)).layer(RequestIdLayer::new().trust(trusted));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, with_peer_addr(app)).await?;
    Ok(())
}

async fn hello(id: RequestId) -> String {
    format!("this is request {id}\n")
}
