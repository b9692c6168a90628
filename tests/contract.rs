//! Every layer of the house against every law that a Tower layer should keep. A new layer adds one row.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

#[path = "common/lines.rs"]
mod lines;

use bartizan::{
    access_log::{AccessLogLayer, Format},
    rate_limit::{Quota, RateLimitLayer},
    request_id::RequestIdLayer,
    tenant::{CachedDirectory, Tenant, TenantId, TenantLayer, TenantSet, from_header},
    testing::{Subject, laws},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use lines::Lines;
use std::{
    collections::HashSet,
    convert::Infallible,
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
    rate_limit_that_waits => Subject::new(RateLimitLayer::new(ONE_AT_ONCE).wait_up_to(Duration::from_secs(60), 8));
    rate_limit_that_settles => {
        let refunding = |quota: Quota| RateLimitLayer::new(quota).settle_by(|_| 0);
        Subject::new(refunding(GENEROUS)).promise(refunding(THREE_A_DAY), all_pass)
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
