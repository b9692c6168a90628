//! How the services behind are called, and what is stored of their answers.

use crate::ports::Ports;
use bartizan::{
    cache::{Cache, CacheLayer, KeyRules, ResponseCache},
    circuit_breaker::{BreakerPolicy, Event},
    fallback::fixed,
    retry::RetryPolicy,
    tenant::Tenant,
};
use bartizan_gateway::{Upstream, UpstreamError, UpstreamEvent, Upstreams};
use bytes::Bytes;
use http::Response;
use std::time::Duration;
use tower::Layer;

/// Again once, and soon: somebody waits for a page.
const AGAIN: RetryPolicy = RetryPolicy::attempts(2).pause(Duration::from_millis(10), Duration::from_millis(50));

/// Opens on seven failures in a row, or when half of twenty fail. It closes sooner than it would in earnest, for those
/// who watch.
const BREAKER: BreakerPolicy = BreakerPolicy::new()
    .within(Duration::from_secs(10))
    .open_for(Duration::from_secs(2), Duration::from_secs(10))
    .ramp(Duration::from_secs(3));

/// What everybody likes, when nobody knows what somebody would like.
const BESTSELLERS: &str =
    r#"{"model":"bestsellers","items":[{"sku":"b-1","title":"Desk"},{"sku":"b-2","title":"Lamp"}]}"#;

/// The services behind, and in front of them what they have answered.
pub(crate) type Behind = Cache<Upstreams>;

/// All of them, for each tenant by itself: what was stored for one is never the answer to another. Outside of retries and
/// breakers, so that what is stored answers while a service is down, and a hit is no call.
pub(crate) fn behind(ports: &Ports, cache: ResponseCache) -> Result<Behind, UpstreamError> {
    // A proxy says by which scheme it was asked, and an aggregate does not. These services don't mind.
    let keys = KeyRules::new().without_forwarded_proto();
    let layer = CacheLayer::new(cache).keys(keys).partition_by(Tenant::key);
    Ok(layer.layer(upstreams(ports)?))
}

/// All of them, by the name that stands in the place of a host: `http://orders/…` goes to one of two replicas.
fn upstreams(ports: &Ports) -> Result<Upstreams, UpstreamError> {
    let at = |service| format!("http://{}", ports.service(service));
    let usual = |upstream: Upstream| {
        let name = upstream.name().to_owned();
        upstream
            .breaker(BREAKER)
            .retry(AGAIN)
            .attempt_timeout(Duration::from_millis(400))
            .observe(move |event| tell(&name, event))
    };
    Upstreams::new([
        usual(Upstream::new("users", [at("users")])?),
        usual(Upstream::new("orders", [at("orders-a"), at("orders-b")])?),
        usual(Upstream::new("notifications", [at("notifications")])?),
        // Slow when it is asked, and slow when it is asked again: something else will do.
        usual(Upstream::new("recommendations", [at("recommendations")])?)
            .retry(RetryPolicy::never())
            .attempt_timeout(Duration::from_millis(150))
            .fallback(fixed(Response::new(Bytes::from_static(BESTSELLERS.as_bytes())))),
    ])
}

/// In the log stands what a breaker does, beside the requests that made it.
fn tell(upstream: &str, event: &UpstreamEvent<'_>) {
    if let UpstreamEvent::Breaker { endpoint, event: Event::Changed(change) } = event {
        tracing::warn!(upstream, endpoint, from = ?change.from, to = ?change.to, cause = ?change.cause, "breaker");
    }
}
