//! `curl -s '127.0.0.1:3000/orders/42?token=secret' 127.0.0.1:3000/nowhere`
//!
//! The server prints one line of JSON for each request, the first without its token, the second with the flag `NR`.
//! `curl -s -m 1 http://127.0.0.1:3000/slow` goes away before it has an answer, and is logged with the flag `DC`.

use axum::{Router, routing::get};
use bartizan::{
    access_log::{AccessLogLayer, Format},
    bridge::axum::{matched_path, with_peer_addr},
    request_id::RequestIdLayer,
};
use std::{io, time::Duration};
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> io::Result<()> {
    let log = AccessLogLayer::new().service("shop").route_by(matched_path).write_to(io::stdout(), Format::Json);

    let app = Router::new()
        .route("/orders/{id}", get(async || "an order\n"))
        .route("/slow", get(async || sleep(Duration::from_secs(60)).await))
        .layer(ServiceBuilder::new().layer(RequestIdLayer::new()).layer(log));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, with_peer_addr(app)).await
}
