//! Answers from what is stored, and asks the service only for what is not, by RFC 9111.
//!
//! A client gets what the service would have said: a stored response with its `Age`; `304 Not Modified` where it has the
//! same already, `206 Partial Content` where it wants a part; and in `Cache-Status` (RFC 9211) how that came about:
//! `bartizan; hit; ttl=4`, `fwd=uri-miss; stored`, `fwd=stale; fwd-status=304`, `collapsed`, or why nothing is stored, as
//! `detail`. A stale response has a `ttl` below zero. What the client asks to have from the cache alone (`only-if-cached`)
//! and is not there is a `504 Gateway Timeout` as `application/problem+json`, the only refusal there is.
//!
//! A hundred requests for the same at once are one request to the service; the others read along while it answers, each at
//! its own pace, and the service's answer is passed on as it comes. What cannot be shared is waited for once: then its URL is
//! remembered for two minutes, and nobody waits. Methods that change something take away what is stored of their URL.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use bartizan::cache::{CacheLayer, ResponseCache};
//! use http::{Request, StatusCode, header};
//! use tower::ServiceExt;
//!
//! async fn page() -> impl axum::response::IntoResponse {
//!     ([(header::CACHE_CONTROL, "max-age=60"), (header::ETAG, "\"v1\"")], "hello\n")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = ResponseCache::new(64 * 1024 * 1024); // made once, and kept to look at and to purge
//! let app: Router = Router::new().route("/", get(page)).layer(CacheLayer::new(cache.clone()));
//!
//! for says in ["bartizan; fwd=uri-miss; stored; ttl=", "bartizan; hit; ttl="] {
//!     let request = Request::get("http://shop.example/").body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert!(response.headers()["cache-status"].to_str()?.starts_with(says));
//!     assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, "hello\n"); // with its last byte it is stored
//! }
//!
//! let request = Request::get("http://shop.example/").header("if-none-match", "\"v1\"").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), StatusCode::NOT_MODIFIED);
//! assert_eq!((cache.statistics().hits, cache.statistics().misses), (2, 1));
//! # Ok(())
//! # }
//! ```
//!
//! For each tenant by itself, and purged by a tag that the service has given in `Cache-Tag` or `Surrogate-Key`, which go no
//! further:
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use bartizan::{
//!     cache::{CacheLayer, Key, Purge, ResponseCache},
//!     tenant::{self, Tenant, TenantLayer},
//! };
//! use http::{Request, header};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! async fn shoes(tenant: Tenant) -> impl axum::response::IntoResponse {
//!     ([("cache-control", "max-age=60"), ("cache-tag", "shoes, shelf-7")], format!("shoes of {}\n", tenant.id()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = ResponseCache::new(64 * 1024 * 1024);
//! let app: Router = Router::new().route("/shoes", get(shoes)).layer(
//!     ServiceBuilder::new()
//!         .layer(TenantLayer::new(tenant::from_header("x-tenant-id"))) // outside: it says whose a request is
//!         .layer(CacheLayer::new(cache.clone()).partition_by(Tenant::key)),
//! );
//! let hits = async |tenant: &str| -> Result<bool, Box<dyn std::error::Error>> {
//!     let request = Request::get("http://shop.example/shoes").header("x-tenant-id", tenant).body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     let hit = response.headers()[header::CACHE_STATUS].to_str()?.contains("; hit");
//!     axum::body::to_bytes(response.into_body(), 100).await?;
//!     Ok(hit)
//! };
//!
//! assert!(!hits("acme").await? && hits("acme").await?);
//! assert!(!hits("globex").await?, "what is stored for one is nothing to another");
//! cache.purge(&Purge::tag("shoes").partition(Key::new("acme")));
//! assert!(!hits("acme").await? && hits("globex").await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! Inbound innermost, right before the handler, the proxy or the aggregate: inside of whatever decides who may ask, so that
//! nobody is let in by a hit, and inside of the tenant if it is [partitioned](CacheLayer::partition_by); inside of
//! compression, so that one response is stored and not one for each coding. It has to see each request as the service will:
//! what a proxy behind it drops, as `Connection` says or because nobody believes it, has to be dropped in front of it, and what
//! such a proxy writes has to be [told](CachePolicy::written_behind); the gateway's proxy has a layer for that (`Proxy::front`).
//!
//! Outbound outermost, in front of the deadline of the call, retries and breakers: a hit is no call, what is stale answers
//! when the breaker is open, and a hundred who wait share the attempts of one. A fallback stands on either side of it, and
//! gives way to what is stored.
//!
//! The layer is always ready, and makes the service ready that it calls; see [`CacheLayer::layer`](tower_layer::Layer::layer).
//! It may be put round a router, or round each route; what is stored is the [`ResponseCache`]'s.
//!
//! # What it remembers
//!
//! What its [`ResponseCache`] holds, of at most as many bytes as it was made for, with keys and heads and what it takes to keep
//! them: 2.9 KiB for a response of 1 KiB with six fields. It stores responses of up to a sixteenth of that, and up to 8 MiB,
//! unless [told](ResponseCache::object_limit) otherwise; 32 variants for a URL; keys of up to 8 KiB; of tags 128, and 8 KiB. What
//! is larger passes by. Beside that it takes 64 KiB for the URLs of which nothing can be stored, and 512 KiB for purges once
//! there has been one: a purge of a tag counts, whatever the number of responses that have the tag. What is asked for all the
//! time takes some 60 KiB more for each processor, which remembers how it was found and the head that was sent, or 300 KiB if heads are
//! as large as are remembered. A 2048th of the bytes at most, between 2 KiB and 512 KiB, is bits for the URLs of which something was ever stored: who
//! asks for another one, or changes it, need not look for what is stored of it, until so many have been stored that most bits are set.
//!
//! A body that is on its way is held as far as it has come, until it has ended, though not more of it than may be stored; that
//! counts beside what the [`ResponseCache`] was made for, and grows with the number of requests that are under way.
//!
//! Of a request it keeps the fields that `Vary` names, `Cookie` and `Authorization` among them only as digests.
//!
//! # What it never does
//!
//! As long as [`CachePolicy::new`] is not changed. Each can be had, where the RFC allows it, by what stands beside it.
//!
//! - It shares nothing that says `private` or `no-store` (RFC 9111 §5.2.2.5, §5.2.2.7), nothing that says `Vary: *`, and nothing
//!   with whom `Vary` tells apart (§4.1).
//! - It shares no answer to a request with `Authorization` that does not say `public`, `s-maxage` or `must-revalidate` (§3.5).
//! - It shares no response with `Set-Cookie` that does not say `public` ([`set_cookie`](CachePolicy::set_cookie), §7.3), and no
//!   answer to a request with `Cookie` that says neither that nor `s-maxage` ([`cookie`](CachePolicy::cookie)).
//! - It takes nothing for fresh that does not say so ([`heuristics`](CachePolicy::heuristics), §4.2.2;
//!   [`fresh_for`](CachePolicy::fresh_for)).
//! - It uses nothing stale that says `must-revalidate`, `proxy-revalidate`, `s-maxage` or `no-cache` (§4.2.4); no policy does.
//! - It lets no client make the service work, or get what is stale, by `no-cache` or `max-stale`
//!   ([`heed_requests`](CachePolicy::heed_requests), §5.2.1).
//! - It lets nothing reach the service that changes its answer and is not in the key: `X-Forwarded-Host`, `X-Original-URL` and
//!   their kin are taken out of what may be stored ([`KeyRules`], §7.1); and a request whose fields have more than 8 KiB, which the
//!   service might refuse to read, passes by.
//! - It answers no `QUERY` whose content it does not know ([`QueryLayer`], RFC 10008 §2.7), no `POST`
//!   ([`post_for_get`](CachePolicy::post_for_get), RFC 9110 §9.3.3), and no precondition that only the service can judge
//!   (`If-Match`, `If-Unmodified-Since`; §4.3.2).
//! - It changes no content, waits for the end of none before it passes it on, and keeps none that is longer than it may store.
//!   Only where at least half of a response is stored in parts already ([`parts`](CachePolicy::parts)) it waits for the rest.
//!
//! # When the origin fails
//!
//! What is stored and stale is the answer, if the service answers 500, 502, 503 or 504, gives no answer, takes longer than a
//! layer further in allows, is left alone by its breaker, or is spared by a rate limit further in.
//! It says so: `fwd-status`, or one of the details `no-answer`, `timeout` and `breaker-open`; and in the access log, with the
//! flag `SI`. That holds for as long as the response says
//! (`stale-if-error`, RFC 5861 §4), else for [a day](CachePolicy::stale_if_error). Where the response has
//! `stale-while-revalidate` (§3), it is used for so long without waiting for the service at all, which is asked behind.
//!
//! If nothing is stored, the failure is the answer as it is. It is not stored, and those who waited for it ask for themselves.
//! A body that breaks off is the same for all who read it; what came of it is kept as a part, if it is known of what.
//!
//! # When the store is down
//!
//! Without a [second tier](ResponseCache::second_tier) there is none. With one, what fails there or takes more than 100 ms is
//! a miss, and no more: after five failures in a row it is left alone for five seconds. It never makes a request fail, and a
//! hit in this process never asks it.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; add `bartizan-store`, `foldhash`, `itoa`, `lz4_flex`, `moka` with `sync`, `parking_lot`, `sfv`,
//! `sha2` and `smallvec` to the dependencies, and `rt` and `sync` to tokio's features. `policy/` alone is the rules of the RFCs
//! without a clock, a lock or a service: it needs neither `shared/` nor the rest of the folder.

mod answer;
mod ask;
mod body;
mod buffer;
mod by_head;
mod completing;
mod entry;
mod event;
mod fetch;
mod fill;
mod flight;
mod form;
mod front;
mod future;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod generations;
mod head;
mod host;
mod invalidating;
mod key;
mod key_rules;
mod lanes;
mod layer;
mod lead;
mod marks;
mod memory;
mod mix;
mod policy;
mod purge;
mod query;
mod ready;
mod refused;
mod rules;
mod statistics;
mod status;
mod status_key;
mod storing;
mod tags;
mod tier;
mod upkeep;
mod urls;
mod validating;
mod warm_up;
mod weight;

#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    body::CacheBody,
    event::{Event, Forward, Outcome},
    fill::{Abandoned, BrokenOff, Spawn},
    future::ResponseFuture,
    key::CacheKey,
    key_rules::KeyRules,
    layer::{Cache, CacheLayer},
    memory::ResponseCache,
    policy::CachePolicy,
    purge::{Purge, Purged},
    query::{Query, QueryBody, QueryFuture, QueryLayer},
    statistics::Statistics,
    warm_up::{WarmedUp, warm_up},
};
pub use bartizan_store::{Key, KeyValue};
