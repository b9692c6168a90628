//! `for i in 1 2; do curl -si 127.0.0.1:3000/news; done; curl -si -H 'if-none-match: "1"' 127.0.0.1:3000/news`
//!
//! Fetched, a hit, and a 304; `cache-status` says so. After three seconds one stale answer, and a new one is fetched behind
//! it. `/purge` brings a new one at once, and `/cache` tells what there is.

use axum::{Router, http::header, response::IntoResponse, routing::get};
use bartizan::cache::{CacheLayer, Purge, ResponseCache};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let cache = ResponseCache::new(64 * 1024 * 1024);
    let (purged, told) = (cache.clone(), cache.clone());

    let app = Router::new()
        .route("/news", get(news))
        .layer(CacheLayer::new(cache))
        .route("/purge", get(async move || format!("{:?}\n", purged.purge(&Purge::tag("news")))))
        .route("/cache", get(async move || format!("{:#?}\n", told.statistics())));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}

/// Takes half a second, and is good for three.
async fn news() -> impl IntoResponse {
    static EDITION: AtomicU32 = AtomicU32::new(0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let edition = EDITION.fetch_add(1, Relaxed) + 1;
    let fields = [
        (header::CACHE_CONTROL, "max-age=3, stale-while-revalidate=60".to_owned()),
        (header::ETAG, format!("\"{edition}\"")),
        (header::HeaderName::from_static("cache-tag"), "news".to_owned()),
    ];
    (fields, format!("the news, edition {edition}\n"))
}
