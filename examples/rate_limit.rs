//! `for i in 1 2 3 4; do curl -si 127.0.0.1:3000/ | grep -iE '^HTTP|^retry-after|^ratelimit'; done`
//!
//! Two requests at once, one more each second; the fields tell how the client stands. `/healthz` is never limited.

use axum::{Router, routing::get};
use bartizan::{
    bridge::axum::with_peer_addr,
    rate_limit::{Fields, Policy, Quota, RateLimitLayer, When, key},
};

const PER_CLIENT: Quota = Quota::per_second(1).burst(2);
const IN_ALL: Quota = Quota::per_second(1_000);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let limit = RateLimitLayer::new(Policy::new("client", PER_CLIENT))
        .and(Policy::new("total", IN_ALL).key_by(key::global()))
        .exempt(|head| head.uri.path() == "/healthz")
        .fields(Fields::draft().when(When::Always));

    let app =
        Router::new().route("/", get(|| async { "hello\n" })).route("/healthz", get(|| async { "ok\n" })).layer(limit);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, with_peer_addr(app)).await
}
