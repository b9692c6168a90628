//! Every layer of the house against every law that a Tower layer should keep. A new layer adds one row.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

#[path = "common/lines.rs"]
mod lines;

use bartizan::{
    Deadline,
    access_log::{AccessLogLayer, Format},
    cache::{CacheLayer, CachePolicy, QueryLayer, ResponseCache},
    circuit_breaker::{Breaker, CircuitBreakerLayer, Key},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    deadline::{DeadlineLayer, PropagateDeadlineLayer},
    fallback::{FallbackLayer, fixed, from_part},
    fault::{Fault, FaultLayer, Faults},
    rate_limit::{Quota, RateLimitLayer},
    request_id::RequestIdLayer,
    retry::{Budget, RetryLayer, RetryPolicy},
    tenant::{CachedDirectory, Tenant, TenantId, TenantLayer, TenantSet, from_header},
    testing::{Subject, laws},
    timeout::{AttemptTimeoutLayer, TimeoutLayer},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use lines::Lines;
use std::{
    collections::HashSet,
    convert::Infallible,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

laws! {
    request_id => Subject::new(RequestIdLayer::new()).promise(RequestIdLayer::new(), every_id_is_another);
    access_log => Subject::new(AccessLogLayer::new());
    access_log_to_a_writer => logging_to(&Lines::default());
    tenant => Subject::new(TenantLayer::new(from_header("x-tenant-id")).known(acme())).request(from_acme());
    tenant_of_a_directory => asked_once(&Arc::default());
    rate_limit => Subject::new(RateLimitLayer::new(GENEROUS)).promise(RateLimitLayer::new(THREE_A_DAY), three_pass);
    rate_limit_that_waits => {
        let waiting = |quota: Quota| RateLimitLayer::new(quota).wait_up_to(Duration::from_secs(60), 8);
        Subject::new(waiting(ONE_AT_ONCE)).promise(waiting(THREE_A_DAY), three_pass)
    };
    rate_limit_that_settles => {
        let refunding = |quota: Quota| RateLimitLayer::new(quota).settle_by(|_| 0);
        Subject::new(refunding(GENEROUS)).promise(refunding(THREE_A_DAY), all_pass)
    };
    cache => caching(CachePolicy::new());
    cache_by_all_the_rules => caching(CachePolicy::rfc());
    query => Subject::new(QueryLayer::new(64));
    circuit_breaker => counting(CircuitBreakerLayer::new);
    circuit_breaker_by_key => Subject::new(CircuitBreakerLayer::new(Breaker::default()).key_by(|_| Some(Key::GLOBAL)));
    circuit_breaker_as_a_gate => counting(|breaker| CircuitBreakerLayer::new(breaker).gate());
    circuit_breaker_that_is_open => {
        let breaker = Breaker::default();
        breaker.force_open();
        Subject::new(CircuitBreakerLayer::new(Breaker::default())).promise(CircuitBreakerLayer::new(breaker), none_passes)
    };
    concurrency_limit => {
        let (layer, none_passes) = no_permit_left();
        lending(|layer| layer).promise(layer, none_passes)
    };
    concurrency_limit_that_waits => lending(|layer| layer.wait_up_to(Duration::from_secs(60), 1_000));
    concurrency_limit_by_key => lending(|layer| layer.key_by(|head| Some(head.uri.clone())));
    fault => Subject::new(FaultLayer::new(Faults::new()));
    fault_that_delays => Subject::new(FaultLayer::new(harming(Fault::latency(Duration::from_millis(1)))));
    fault_that_slows => Subject::new(FaultLayer::new(harming(Fault::bandwidth(NonZeroU32::MAX))));
    retry => waiting_for_an_answer(RetryPolicy::attempts(3));
    retry_of_nothing => waiting_for_an_answer(RetryPolicy::never());
    retry_at_the_deadline => Subject::new(RetryLayer::new(RetryPolicy::attempts(3))).request(due_in(A_MINUTE));
    deadline => Subject::new(DeadlineLayer::new(A_MINUTE)).promise(DeadlineLayer::new(Duration::ZERO), none_has_time);
    deadline_propagated => Subject::new(PropagateDeadlineLayer::new()).request(due_in(A_MINUTE));
    timeout => Subject::new(TimeoutLayer::new(A_MINUTE));
    timeout_of_an_attempt => Subject::new(AttemptTimeoutLayer::new(A_MINUTE).count_readiness());
    timeout_at_the_deadline => Subject::new(AttemptTimeoutLayer::new(2 * A_MINUTE)).request(due_in(A_MINUTE));
    fallback => Subject::new(FallbackLayer::new(fixed(Response::default())).pass_errors());
    fallback_of_a_function => {
        let stopgap = from_part(|head| head.uri.clone(), |uri, _| Response::new(uri.to_string().into()));
        Subject::new(FallbackLayer::new(stopgap).pass_errors())
    };
    the_inbound_stack => {
        let stack = ServiceBuilder::new()
            .layer(RequestIdLayer::new())
            .layer(AccessLogLayer::new().write_to(Lines::default(), Format::Text))
            .layer(CatchPanicLayer::new())
            .layer(TenantLayer::new(from_header("x-tenant-id")).known(acme()))
            .layer(RateLimitLayer::new(GENEROUS).key_by(Tenant::key))
            .into_inner();
        Subject::new(stack).request(from_acme())
    };
}

const GENEROUS: Quota = Quota::per_second(1_000_000);
const ONE_AT_ONCE: Quota = Quota::per_second(1_000).burst(1);
const THREE_A_DAY: Quota = Quota::per_day(3).burst(3);

/// One breaker counts every call, through whatever application of the layer it comes.
fn counting(with: impl Fn(Breaker) -> CircuitBreakerLayer) -> Subject<CircuitBreakerLayer> {
    let breaker = Breaker::default();
    let layer = with(breaker.clone());
    let kept = move |answers: &[Response<Bytes>]| assert_eq!(breaker.metrics().succeeded, answers.len() as u64);
    Subject::new(with(Breaker::default())).promise(layer, kept)
}

/// After all those requests, and those that were dropped, none is counted as waiting.
fn waiting_for_an_answer(policy: RetryPolicy) -> Subject<RetryLayer> {
    let budget = Budget::new();
    let layer = RetryLayer::new(policy).budget(budget.clone());
    let kept = move |answers: &[Response<Bytes>]| {
        all_pass(answers);
        assert_eq!(budget.waiting(), (0, 0));
    };
    Subject::new(layer.clone()).promise(layer, kept)
}

/// A hit needs no service, so the layer is always ready.
fn caching(policy: CachePolicy) -> Subject<CacheLayer> {
    Subject::new(CacheLayer::new(ResponseCache::new(1 << 20)).policy(policy)).answers_by_itself()
}

fn none_passes(answers: &[Response<Bytes>]) {
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
}

/// Every permit comes back, and not before the body has ended.
fn lending(with: impl Fn(ConcurrencyLimitLayer) -> ConcurrencyLimitLayer) -> Subject<ConcurrencyLimitLayer> {
    let limit = ConcurrencyLimit::new(2);
    let subject = Subject::new(with(ConcurrencyLimitLayer::new(limit.clone())));
    subject.at_rest(move || limit.in_flight() == 0 && limit.waiting() == 0)
}

/// A limit that is used up, and stays so.
fn no_permit_left() -> (ConcurrencyLimitLayer, impl Fn(&[Response<Bytes>])) {
    let limit = ConcurrencyLimit::new(1);
    let permit = limit.try_acquire();
    let none_passes = move |answers: &[Response<Bytes>]| {
        assert!(permit.is_some());
        assert!(answers.iter().all(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
    };
    (ConcurrencyLimitLayer::new(limit), none_passes)
}

fn harming(fault: Fault) -> Faults {
    let faults = Faults::new().at_most(1.0);
    faults.inject(fault);
    faults
}

const A_MINUTE: Duration = Duration::from_secs(60);

fn due_in(time: Duration) -> Request<()> {
    Request::builder().extension(Deadline::after(time)).body(()).expect("a valid request")
}

fn none_has_time(answers: &[Response<Bytes>]) {
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::GATEWAY_TIMEOUT));
}

fn three_pass(answers: &[Response<Bytes>]) {
    assert_eq!(answers.iter().filter(|answer| answer.status() == StatusCode::OK).count(), 3);
    assert_eq!(
        answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).count(),
        answers.len() - 3
    );
}

fn all_pass(answers: &[Response<Bytes>]) {
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
}

fn every_id_is_another(answers: &[Response<Bytes>]) {
    let ids: HashSet<_> = answers.iter().map(|answer| answer.headers()["x-request-id"].clone()).collect();
    assert_eq!(ids.len(), answers.len());
}

/// One line for each request.
fn logging_to(lines: &Lines) -> Subject<AccessLogLayer> {
    let (layer, lines) = (AccessLogLayer::new().write_to(lines.clone(), Format::Json), lines.clone());
    Subject::new(layer.clone()).promise(layer, move |answers| assert_eq!(lines.take().len(), answers.len()))
}

fn acme() -> TenantSet {
    TenantSet::new(["acme"]).expect("a valid name")
}

fn from_acme() -> Request<()> {
    Request::builder().header("x-tenant-id", "acme").body(()).expect("a valid request")
}

/// The directory is asked once for a tenant, and its answer is remembered for all.
fn asked_once(asked: &Arc<AtomicUsize>) -> Subject<TenantLayer> {
    let layer = {
        let asked = Arc::clone(asked);
        let directory = CachedDirectory::new(move |_: TenantId| {
            asked.fetch_add(1, Relaxed);
            async {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(true)
            }
        });
        TenantLayer::new(from_header("x-tenant-id")).directory(directory)
    };
    let asked = Arc::clone(asked);
    let kept = move |answers: &[Response<Bytes>]| {
        assert!(answers.iter().all(|answer| answer.status().is_success()));
        assert_eq!(asked.load(Relaxed), 1);
    };
    Subject::new(layer.clone()).request(from_acme()).promise(layer, kept)
}
