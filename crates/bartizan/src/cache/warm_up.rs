//! Filling a cache before anybody asks.

use http::{Request, Response};
use http_body::Body;
use std::{future::poll_fn, pin::pin};
use tower_service::Service;

/// What came of warming up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmedUp {
    /// Requests that were answered, and whose answers came to their end.
    pub answered: usize,
    /// Requests that were not.
    pub failed: usize,
}

/// Sends these requests through a service that a [`CacheLayer`](super::CacheLayer) is round, one after the other, and reads
/// the answers to their end. What may be stored is in the cache then, as if clients had asked for it.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use bartizan::cache::{CacheLayer, ResponseCache, warm_up};
/// use http::{Request, header};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), http::Error> {
/// let cache = ResponseCache::new(64 * 1024 * 1024);
/// let page = || async { ([(header::CACHE_CONTROL, "max-age=60")], "hello") };
/// let app: Router = Router::new().route("/", get(page)).layer(CacheLayer::new(cache.clone()));
///
/// let urls = ["http://shop.example/", "http://shop.example/none"];
/// let requests = urls.map(|url| Request::get(url).body(Body::empty()).expect("a valid URL"));
/// assert_eq!(warm_up(&mut app.clone(), requests).await.answered, 2);
/// assert_eq!(cache.statistics().stored, 1);
/// # Ok(())
/// # }
/// ```
pub async fn warm_up<S, B, R>(service: &mut S, requests: impl IntoIterator<Item = Request<B>>) -> WarmedUp
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    let mut warmed = WarmedUp::default();
    for request in requests {
        match fetch(service, request).await {
            Some(()) => warmed.answered += 1,
            None => warmed.failed += 1,
        }
    }
    warmed
}

async fn fetch<S, B, R>(service: &mut S, request: Request<B>) -> Option<()>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    poll_fn(|cx| service.poll_ready(cx)).await.ok()?;
    let mut body = pin!(service.call(request).await.ok()?.into_body());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        frame.ok()?;
    }
    Some(())
}
