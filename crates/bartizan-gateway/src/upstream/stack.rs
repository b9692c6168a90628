//! What a call goes through, from the outside in.

use super::{
    address::Address,
    balance::{Balance, takes_elsewhere},
    body::AttemptBody,
    call::Attempts,
    connection::{Connection, IDLE, Protocol},
    connector::Trust,
    endpoint::{Endpoint, EndpointState},
    error::SendError,
    instead::Instead,
    patience::{Of, Patience},
    status::{Observe, Observer, UpstreamEvent},
};
use crate::{HttpService, upload::Upload};
use axum::body::Body;
use bartizan::{
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreaker, CircuitBreakerLayer, Outcome},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimited},
    deadline::{PropagateDeadline, PropagateDeadlineLayer},
    fallback::{FallbackLayer, WithFallback},
    retry::{Budget, Failure, RequestBody, Retry, RetryLayer, RetryPolicy},
    timeout::{self, Timeout, TimeoutLayer},
};
use http::Response;
use std::{sync::Arc, time::Duration};
use tower::{
    ServiceBuilder,
    layer::layer_fn,
    util::{MapResponse, MapResponseLayer},
};

/// What a call goes through. A cache, and the sharing of calls that are alike, have their places outside of the retry.
pub(super) type Stack = WithFallback<MapResponse<Tried, NameBody>, Instead>;
/// What it goes through in its time, as often as it is tried.
pub(super) type Tried = Patience<Timeout<Retry<Balance<PerEndpoint>, fn(&SendError) -> Failure>>>;
/// What an attempt goes through, at the endpoint that was chosen for it.
pub(super) type PerEndpoint =
    CircuitBreaker<ConcurrencyLimited<Timeout<Patience<PropagateDeadline<Leaf>>>>, fn(&SendError) -> Outcome>;
pub(super) type Leaf = Connection<RequestBody<Body>>;
type NameBody = fn(Response<<Tried as HttpService>::Body>) -> Response<AttemptBody>;

/// An endpoint with its stack.
pub(super) type Stacked = Endpoint<PerEndpoint>;

/// How an upstream is called.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) instead: Instead,
    pub(super) total: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) budget: Budget,
    pub(super) breaker: BreakerPolicy,
    pub(super) concurrency: u32,
    pub(super) attempt: Duration,
    pub(super) body_idle: Option<Duration>,
    pub(super) pool_idle: Duration,
    pub(super) observer: Observer,
}

/// What an endpoint is not told of an attempt's time: for the way there and back.
const MARGIN: Duration = Duration::from_millis(5);

// ===== impl Policy =====

impl Policy {
    /// The endpoints, of which nothing is known yet.
    pub(super) fn endpoints(&self, addresses: &[Address], protocol: Protocol, trust: &Trust) -> Arc<[Stacked]> {
        let endpoint = |address: &Address| {
            let url: Arc<str> = address.to_string().into();
            let state = EndpointState {
                breaker: self.breaker(&url),
                limit: ConcurrencyLimit::new(self.concurrency),
                connection: Connection::new(address.clone(), protocol, trust, self.pool_idle),
                url,
            };
            Endpoint { service: self.attempt(&state, addresses.len()), state }
        };
        addresses.iter().map(endpoint).collect()
    }

    /// The same endpoints, called as this policy has it.
    pub(super) fn restack(&self, endpoints: &[Stacked]) -> Arc<[Stacked]> {
        let endpoint = |Endpoint { state, .. }: &Stacked| {
            let state = state.clone();
            Endpoint { service: self.attempt(&state, endpoints.len()), state }
        };
        endpoints.iter().map(endpoint).collect()
    }

    fn breaker(&self, url: &Arc<str>) -> Breaker {
        // Where there is one endpoint, there is one key.
        let breaker = Breaker::new(self.breaker).keys_at_most(1);
        let Some(observe) = self.observer.get() else { return breaker };
        let url = Arc::clone(url);
        breaker.observe(move |event| observe(&UpstreamEvent::Breaker { endpoint: &url, event }))
    }

    fn attempt(&self, endpoint: &EndpointState, of: usize) -> PerEndpoint {
        let EndpointState { url, breaker, limit, connection } = endpoint;
        let classify: fn(&SendError) -> Outcome = SendError::outcome;
        let mut guard = CircuitBreakerLayer::new(breaker.clone()).classify_error(classify);
        if of > 1 {
            // The share of one that has just recovered is not for its breaker to refuse, while others are well.
            guard = guard.gate();
        }
        // An attempt that hangs ends while there still is somebody who waits.
        let within = self.attempt.min(self.total / 10 * 9);
        let url = Arc::clone(url);
        let timeout = self.timeout(within, move |observe, event| {
            observe(&UpstreamEvent::AttemptTimeout { endpoint: &url, event });
        });
        ServiceBuilder::new()
            .layer(guard)
            .layer(ConcurrencyLimitLayer::new(limit.clone()))
            .layer(&timeout)
            .layer(layer_fn(|inner| Patience::new(inner, Of::Attempt, within, timeout.clone())))
            .layer(PropagateDeadlineLayer::new().margin(MARGIN.min(within / 10)))
            .service(connection.clone().body_idle(self.body_idle))
    }

    /// Of one attempt or of all, which is told so to who watches.
    fn timeout(
        &self,
        limit: Duration,
        tell: impl Fn(&Observe, &timeout::Event) + Send + Sync + 'static,
    ) -> TimeoutLayer {
        let timeout = TimeoutLayer::new(limit).limit_by(Upload::limit);
        match self.observer.get() {
            Some(observe) => timeout.observe(move |event| tell(&*observe, event)),
            None => timeout,
        }
    }

    pub(super) fn stack(&self, endpoints: &Arc<[Stacked]>) -> Stack {
        let classify: fn(&SendError) -> Failure = SendError::failure;
        let name_body: NameBody = |answer| answer.map(|body| AttemptBody { body });
        let mut instead = FallbackLayer::new(self.instead.clone());
        let timeout = self.timeout(self.total, |observe, event| observe(&UpstreamEvent::TotalTimeout(event)));
        let retry = RetryLayer::new(self.retry).budget(self.budget.clone()).errors_by(classify);
        // The deadline of an upload is how long one may take in all.
        let mut retry = retry.carry::<Attempts>().carry::<Upload>().ends_by(Upload::end);
        if endpoints.len() > 1 {
            let endpoints = Arc::clone(endpoints);
            retry = retry.elsewhere(move |refusal, extensions| takes_elsewhere(&endpoints, refusal, extensions));
        }
        if let Some(observe) = self.observer.get() {
            let (of_instead, of_retry) = (Arc::clone(&observe), observe);
            instead = instead.observe(move |event| of_instead(&UpstreamEvent::Fallback(event)));
            retry = retry.observe(move |event| of_retry(&UpstreamEvent::Retry(event)));
        }
        ServiceBuilder::new()
            .layer(instead)
            .layer(MapResponseLayer::new(name_body))
            .layer(layer_fn(|inner| Patience::new(inner, Of::All, self.total, timeout.clone())))
            .layer(&timeout)
            .layer(retry)
            .service(Balance::new(Arc::clone(endpoints)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            instead: Instead::default(),
            total: Duration::from_secs(30),
            retry: RetryPolicy::attempts(3),
            budget: Budget::new(),
            breaker: BreakerPolicy::new(),
            concurrency: u32::MAX,
            attempt: Duration::from_secs(10),
            body_idle: Some(Duration::from_secs(30)),
            pool_idle: IDLE,
            observer: Observer::default(),
        }
    }
}
