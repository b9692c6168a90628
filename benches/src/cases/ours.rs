//! Bartizan's layers.

use super::{Terms, unknown};
use crate::{
    fixture::{Origin, tenant_names},
    run::{Pause, Post, Run},
    sink::Sink,
};
use bartizan::{
    access_log::{AccessLogLayer, Format},
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, Key, Snapshot, State},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    deadline::{DeadlineLayer, PropagateDeadlineLayer},
    fallback::{self, FallbackLayer},
    fault::{FaultLayer, Faults},
    rate_limit::{Fields, Quota, RateLimitLayer, When, key},
    request_id::RequestIdLayer,
    retry::{RetryLayer, RetryPolicy},
    tenant::{self, Tenant, TenantLayer, TenantSet},
    timeout::{AttemptTimeoutLayer, TimeoutLayer},
};
use http::{HeaderName, Response};
use std::{convert::Infallible, time::Duration};
use tower::{BoxError, Layer, ServiceBuilder, util::MapErr};

pub(super) const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
/// So much that nobody is ever refused.
pub(super) const AMPLE: Quota = Quota::per_second(1_000_000_000).burst(1_000_000);
/// So little that everybody is refused, but for the first time.
pub(super) const SCANT: Quota = Quota::per_hour(2).burst(1);

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let id = RequestIdLayer::new();
    let with_id = Terms::OURS.with(&["x-request-id"]);
    let limit = RateLimitLayer::new(AMPLE);
    match name {
        "limit-client" => run.run(Terms::OURS, limit.layer(Origin)),
        "limit-header" => run.run(Terms::OURS, limit.key_by(key::header(TENANT)).layer(Origin)),
        "limit-fields" => {
            let limit = limit.fields(Fields::draft().when(When::Always));
            run.run(Terms::OURS.with(&["ratelimit", "ratelimit-policy"]), limit.layer(Origin))
        }
        "limit-refused" => {
            let limit = RateLimitLayer::new(SCANT).fields(Fields::none());
            run.run(Terms::OURS.refused(&["retry-after"]), limit.layer(Origin))
        }
        "limit-refused-fields" => {
            let terms = Terms::OURS.refused(&["retry-after", "ratelimit", "ratelimit-policy"]);
            run.run(terms, RateLimitLayer::new(SCANT).layer(Origin))
        }
        "request-id" => run.run(with_id, id.layer(Origin)),
        "log-json" => {
            let log = AccessLogLayer::new().write_to(Sink, Format::Json);
            run.run(with_id.logged(), ServiceBuilder::new().layer(id).layer(log).service(Origin))
        }
        "log-event" => {
            tracing_subscriber::fmt().json().with_writer(|| Sink).init();
            run.run(with_id.logged(), ServiceBuilder::new().layer(id).layer(AccessLogLayer::new()).service(Origin))
        }
        "log-silent" => run.run(with_id, ServiceBuilder::new().layer(id).layer(AccessLogLayer::new()).service(Origin)),
        "tenant" => run.run(Terms::OURS, tenants()?.layer(Origin)),
        "timeout-ready" => run.run(Terms::OURS, AttemptTimeoutLayer::default().layer(Origin)),
        "timeout-pending" => run.run(Terms::OURS, AttemptTimeoutLayer::default().layer(Pause(Origin))),
        "timeout-total" => run.run(Terms::OURS, TimeoutLayer::default().layer(Origin)),
        "deadline" => run.run(Terms::OURS, DeadlineLayer::default().layer(Origin)),
        "deadline-told" => {
            let told = ServiceBuilder::new().layer(DeadlineLayer::default()).layer(PropagateDeadlineLayer::new());
            run.run(Terms::OURS, told.service(Origin))
        }
        "fallback" => run.run(Terms::OURS, FallbackLayer::new(fallback::fixed(Response::default())).layer(Origin)),
        "fallback-service" => run.run(Terms::OURS, FallbackLayer::new(fallback::service(Origin)).layer(Origin)),
        "stack" => {
            let stack = ServiceBuilder::new()
                .layer(id)
                .layer(AccessLogLayer::new().write_to(Sink, Format::Json))
                .layer(limit.clone())
                .layer(tenants()?)
                .layer(RateLimitLayer::new(AMPLE).key_by(Tenant::key));
            run.run(with_id.logged(), stack.service(Origin))
        }
        "breaker-closed" => run.run(Terms::OURS, CircuitBreakerLayer::new(Breaker::default()).layer(Origin)),
        "breaker-closed-full-window" => run.run(Terms::OURS, busy(BreakerPolicy::new()).layer(Origin)),
        "breaker-closed-count" => run.run(Terms::OURS, busy(BreakerPolicy::new().of_last(100)).layer(Origin)),
        "breaker-closed-full-count" => run.run(Terms::OURS, busy(BreakerPolicy::new().of_last(65_536)).layer(Origin)),
        "breaker-closed-slow-calls" => {
            let policy = BreakerPolicy::new().or_slow_calls(0.5, Duration::from_secs(1));
            run.run(Terms::OURS, CircuitBreakerLayer::new(Breaker::new(policy)).layer(Origin))
        }
        "breaker-closed-keyed" => {
            let breaker = CircuitBreakerLayer::new(Breaker::default());
            let breaker = breaker.key_by(|head| head.headers.get(TENANT).map(Key::new));
            run.run(Terms::OURS, breaker.layer(Origin))
        }
        "breaker-open" => {
            let policy = BreakerPolicy::new().open_for(HOUR, HOUR);
            let breaker = Breaker::new(policy);
            breaker.restore(&Snapshot { state: State::Open, remaining: HOUR, ..breaker.snapshot() });
            run.run(Terms::OURS.unavailable(&["retry-after"]), CircuitBreakerLayer::new(breaker).layer(Origin))
        }
        "concurrency" => run.run(Terms::OURS, ConcurrencyLimitLayer::new(1024).layer(Origin)),
        "concurrency-by-key" => {
            let limit = ConcurrencyLimitLayer::new(1024).key_by(|head| head.headers.get(TENANT).cloned());
            run.run(Terms::OURS, limit.layer(Origin))
        }
        "concurrency-refused" => {
            let limit = ConcurrencyLimit::new(1);
            limit.resize(0);
            run.run(Terms::OURS.unavailable(&["retry-after"]), ConcurrencyLimitLayer::new(limit).layer(Origin))
        }
        "fault-off" => run.run(Terms::OURS, FaultLayer::new(Faults::new()).layer(Origin)),
        "pause" => run.run(Terms::OURS, Pause(Origin)),
        "post" => run.run(Terms::OURS, Post(Origin)),
        "retry" => run.run(Terms::OURS, RetryLayer::new(RetryPolicy::attempts(3)).layer(Origin)),
        "retry-post" => run.run(Terms::OURS, Post(RetryLayer::new(RetryPolicy::attempts(3)).layer(Origin))),
        "retry-post-that-can-fail" => {
            let client = MapErr::new(Origin, |error: Infallible| -> BoxError { match error {} });
            run.run(Terms::OURS, Post(RetryLayer::new(RetryPolicy::attempts(3)).layer(client)))
        }
        _ => Err(unknown(name)),
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A breaker that has seen a million calls just now.
fn busy(policy: BreakerPolicy) -> CircuitBreakerLayer {
    let breaker = Breaker::new(policy);
    breaker.restore(&Snapshot { calls: 1_000_000, ..breaker.snapshot() });
    CircuitBreakerLayer::new(breaker)
}

fn tenants() -> Result<TenantLayer, String> {
    let known = TenantSet::new(tenant_names()).map_err(|error| error.to_string())?;
    Ok(TenantLayer::new(tenant::from_header(TENANT.as_str())).known(known))
}
