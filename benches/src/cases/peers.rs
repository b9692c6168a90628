//! What others have built, each used as its documentation tells.

mod resilience;

use super::Terms;
use crate::{
    fixture::Origin,
    run::{Post, Run},
    sink::Sink,
};
use axum::{
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use http::StatusCode;
use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};
use tower::{
    Layer, ServiceBuilder,
    layer::layer_fn,
    retry::{
        Policy, RetryLayer,
        budget::{Budget, TpsBudget},
    },
};
use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor};
use tower_http::{
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
    trace::{DefaultOnResponse, TraceLayer},
};
use tower_service::Service;
use tracing::Level;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    match name {
        "nothing" => run.run(Terms::OK, layer_fn(|inner| Nothing { inner }).layer(Origin)),
        "limit-client" => {
            let config = GovernorConfigBuilder::default().per_nanosecond(1).burst_size(1_000_000).finish();
            run.run(Terms::OK, GovernorLayer::new(config.ok_or("a quota")?).layer(Origin))
        }
        "limit-header" => {
            let config = GovernorConfigBuilder::default()
                .per_nanosecond(1)
                .burst_size(1_000_000)
                .key_extractor(TenantField)
                .finish();
            run.run(Terms::OK, GovernorLayer::new(config.ok_or("a quota")?).layer(Origin))
        }
        "limit-fields" => {
            let config =
                GovernorConfigBuilder::default().per_nanosecond(1).burst_size(1_000_000).use_headers().finish();
            let terms = Terms::OK.with(&["x-ratelimit-limit", "x-ratelimit-remaining"]);
            run.run(terms, GovernorLayer::new(config.ok_or("a quota")?).layer(Origin))
        }
        "limit-refused" => {
            let config = GovernorConfigBuilder::default().period(Duration::from_secs(86_400)).burst_size(1).finish();
            run.run(Terms::OK.refused(&["retry-after"]), GovernorLayer::new(config.ok_or("a quota")?).layer(Origin))
        }
        "request-id" => {
            let stack = ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(PropagateRequestIdLayer::x_request_id());
            run.run(Terms::OK.with(&["x-request-id"]), stack.service(Origin))
        }
        "log-json" => {
            log_to_sink();
            let stack = ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(
                    TraceLayer::new_for_http()
                        .make_span_with(span)
                        .on_response(DefaultOnResponse::new().level(Level::INFO)),
                )
                .layer(PropagateRequestIdLayer::x_request_id());
            run.run(Terms::OK.with(&["x-request-id"]).logged(), stack.service(Origin))
        }
        "log-silent" => run.run(Terms::OK, TraceLayer::new_for_http().layer(Origin)),
        "tenant" => run.run(Terms::OK, from_fn(tenant).layer(Origin)),
        "stack" => {
            log_to_sink();
            let client = GovernorConfigBuilder::default().per_nanosecond(1).burst_size(1_000_000).finish();
            let tenants = GovernorConfigBuilder::default()
                .per_nanosecond(1)
                .burst_size(1_000_000)
                .key_extractor(TenantField)
                .finish();
            let stack = ServiceBuilder::new()
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(
                    TraceLayer::new_for_http()
                        .make_span_with(span)
                        .on_response(DefaultOnResponse::new().level(Level::INFO)),
                )
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(GovernorLayer::new(client.ok_or("a quota")?))
                .layer(from_fn(tenant))
                .layer(GovernorLayer::new(tenants.ok_or("a quota")?));
            run.run(Terms::OK.with(&["x-request-id"]).logged(), stack.service(Origin))
        }
        "retry" => run.run(Terms::OK, RetryLayer::new(Again::default()).layer(Origin)),
        "retry-post" => run.run(Terms::OURS, Post(RetryLayer::new(Again::default()).layer(Origin))),
        _ => resilience::run(name, run),
    }
}

/// Tower's retry as its documentation tells: three attempts on errors and 503, a copy of what may be sent twice, and
/// its budget.
#[derive(Clone, Debug)]
struct Again {
    attempts: usize,
    budget: Arc<TpsBudget>,
}

impl Default for Again {
    fn default() -> Self {
        Self { attempts: 3, budget: Arc::default() }
    }
}

impl<B, E> Policy<Request, http::Response<B>, E> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request, result: &mut Result<http::Response<B>, E>) -> Option<Ready<()>> {
        let is_failed = result.as_ref().map_or(true, |answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE);
        if !is_failed {
            self.budget.deposit();
            return None;
        }
        self.attempts -= 1;
        (self.attempts > 0 && self.budget.withdraw()).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        if !request.method().is_idempotent() || !http_body::Body::is_end_stream(request.body()) {
            return None;
        }
        let mut clone = Request::new(Body::empty());
        *clone.method_mut() = request.method().clone();
        *clone.uri_mut() = request.uri().clone();
        *clone.version_mut() = request.version();
        *clone.headers_mut() = request.headers().clone();
        *clone.extensions_mut() = request.extensions().clone();
        Some(clone)
    }
}

/// As one event of tracing-subscriber for each response, in the span of the request.
fn log_to_sink() {
    tracing_subscriber::fmt().json().with_max_level(Level::INFO).with_writer(|| Sink).init();
}

fn span(request: &Request) -> tracing::Span {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), uri = %request.uri(), id)
}

/// `tower_governor`'s key for a field, as its examples extract one.
#[derive(Clone, Copy, Debug)]
struct TenantField;

impl KeyExtractor for TenantField {
    type Key = String;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<String, GovernorError> {
        let value = request.headers().get("x-tenant-id").and_then(|value| value.to_str().ok());
        value.map(str::to_owned).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Who the request is for, as one writes it by hand over axum.
#[derive(Clone, Debug)]
struct TenantName(#[allow(dead_code, reason = "handlers would read it")] String);

async fn tenant(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let name = request.headers().get("x-tenant-id").and_then(|value| value.to_str().ok());
    let name = name.filter(|name| name.starts_with("tenant-")).ok_or(StatusCode::FORBIDDEN)?.to_owned();
    request.extensions_mut().insert(TenantName(name));
    Ok(next.run(request).await)
}

/// A layer that does nothing: what any layer costs at least.
#[derive(Clone, Copy, Debug)]
struct Nothing<S> {
    inner: S,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Nothing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        self.inner.call(request)
    }
}
