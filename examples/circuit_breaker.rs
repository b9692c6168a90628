//! `for i in 1 2 3 4; do curl -si 127.0.0.1:3000/ | grep -iE '^HTTP|^retry-after'; done; curl -s 127.0.0.1:3000/breaker`
//!
//! A service that is down for 20 s: two failures, and it is left alone for 5 s; longer each time a probe fails.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use bartizan::circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer};
use std::time::Duration;
use tokio::time::Instant;

const POLICY: BreakerPolicy = BreakerPolicy::failure_rate(0.5).over(20).or_consecutive_failures(2).probes(1, 1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let breaker = Breaker::new(POLICY);
    let app = Router::new()
        .route("/", get(shaky))
        .layer(CircuitBreakerLayer::new(breaker.clone()))
        .with_state(Instant::now() + Duration::from_secs(20))
        .route("/breaker", get(async move || format!("{:#?}\n{:#?}\n", breaker.snapshot(), breaker.metrics())));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

async fn shaky(State(well_from): State<Instant>) -> (StatusCode, &'static str) {
    match Instant::now() < well_from {
        true => (StatusCode::INTERNAL_SERVER_ERROR, "down\n"),
        false => (StatusCode::OK, "well\n"),
    }
}
