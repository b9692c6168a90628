//! `cargo run --release -p bartizan-gateway --example origin -- 127.0.0.1:8400`, then `curl -i http://127.0.0.1:8400/`
//!
//! A bare axum handler on one thread, by axum's own server: it answers everything with the same KiB, which is fresh for an
//! hour. `benches/sockets.sh` puts caches and proxies in front of it, and measures them beside it.

use axum::{Router, http::header};
use bytes::Bytes;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8400".to_owned());
    let body = Bytes::from_static(&[b'x'; 1024]);
    let fields =
        [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "max-age=3600"), (header::ETAG, "\"1\"")];
    let app = Router::new().fallback(move || async move { (fields, body) });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&addr).await?;
        axum::serve(listener, app).await?;
        Ok(())
    })
}
