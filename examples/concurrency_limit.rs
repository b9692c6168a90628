//! `for i in 1 2 3 4 5; do curl -s -o /dev/null -w '%{http_code} %{time_total}\n' 127.0.0.1:3000/ & done; wait`
//!
//! Two are answered at once, two wait, the fifth is turned away. `/limit` tells how it stands, a PUT of `/limit/5` sets another.

use axum::{
    Router,
    extract::Path,
    routing::{get, put},
};
use bartizan::concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use std::time::Duration;

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(1)).await;
    "done\n"
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let limit = ConcurrencyLimit::new(2);
    let (told, turned) = (limit.clone(), limit.clone());

    let app = Router::new()
        .route("/", get(slow))
        .layer(ConcurrencyLimitLayer::new(limit).wait_up_to(Duration::from_secs(5), 2))
        .route("/limit", get(async move || format!("{} of {}\n", told.in_flight(), told.limit())))
        .route("/limit/{limit}", put(async move |Path(limit)| turned.resize(limit)));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}
