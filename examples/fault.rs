//! `curl -s '127.0.0.1:3000/break?share=0.7'; for i in 1 2 3 4 5; do curl -si 127.0.0.1:3000/ | head -1; done`
//!
//! For 15 seconds most answers come late, and some are errors; then all is well again, or at once by `/heal`.

use axum::{Router, extract::Query, routing::get};
use bartizan::fault::{Fault, FaultLayer, Faults};
use http::StatusCode;
use std::{collections::HashMap, time::Duration};

const A_WHILE: Duration = Duration::from_secs(15);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let faults = Faults::new().at_most(0.8);
    let (breaking, healing) = (faults.clone(), faults.clone());

    let app = Router::new().route("/", get(|| async { "hello\n" })).layer(FaultLayer::new(faults));
    let switches = Router::new()
        .route(
            "/break",
            get(async move |Query(query): Query<HashMap<String, String>>| {
                let share = query.get("share").and_then(|share| share.parse().ok()).unwrap_or(0.5_f64).clamp(0.0, 1.0);
                breaking.inject([
                    Fault::latency(Duration::from_millis(200)..=Duration::from_secs(1)).share(share).lasting(A_WHILE),
                    Fault::status(StatusCode::SERVICE_UNAVAILABLE).share(share / 2.0).lasting(A_WHILE),
                ]);
                breaking.active().iter().map(|(fault, _)| format!("{fault}\n")).collect::<String>()
            }),
        )
        .route("/heal", get(async move || healing.heal()));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app.merge(switches)).await
}
