//! How the services behind are called.

use crate::ports::Ports;
use bartizan::{
    circuit_breaker::{BreakerPolicy, Event},
    fallback::fixed,
    retry::RetryPolicy,
};
use bartizan_gateway::{Upstream, UpstreamError, UpstreamEvent, Upstreams};
use bytes::Bytes;
use http::Response;
use std::time::Duration;

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

/// All of them, by the name that stands in the place of a host: `http://orders/…` goes to one of two replicas.
pub(crate) fn upstreams(ports: &Ports) -> Result<Upstreams, UpstreamError> {
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
