//! An upstream as a service.

use super::{
    address::{Address, check_name},
    body::{AttemptBody, UpstreamBody},
    call::Attempts,
    connection::Protocol,
    connector::{HAS_TLS, Trust},
    error::{SendError, UpstreamError},
    future::Answering,
    instead::Instead,
    stack::{Policy, Stack, Stacked},
    status::{EndpointStatus, Observer, UpstreamEvent},
};
use axum::{BoxError, body::Body};
use bartizan::{
    circuit_breaker::{Breaker, BreakerPolicy},
    fallback::Answer,
    retry::{Budget, RetryPolicy},
};
use bytes::Bytes;
use http::{Request, Response};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::ServiceExt;
use tower_service::Service;

/// A service behind: its name, the endpoints at which it is served, and how it is called.
///
/// It is a Tower service, and what an [`Aggregate`](crate::Aggregate) and a [`Proxy`](crate::Proxy) call. A request keeps
/// its path and query, and is sent to one of the endpoints, whatever host it names; `Host` says the endpoint, unless the
/// request has the field itself and is sent over HTTP/1.1.
///
/// ```
/// use bartizan::{circuit_breaker::BreakerPolicy, fallback::fixed, retry::RetryPolicy};
/// use bartizan_gateway::{Proxy, Upstream};
/// use http::Response;
/// use std::time::Duration;
///
/// let orders = Upstream::new("orders", ["http://127.0.0.1:7102", "http://127.0.0.1:7103"])?
///     .total_timeout(Duration::from_secs(2))
///     .retry(RetryPolicy::attempts(3))
///     .breaker(BreakerPolicy::failure_rate(0.5).over(20))
///     .concurrency(100)
///     .attempt_timeout(Duration::from_millis(500));
///
/// let proxy = Proxy::new(orders.clone(), "http://orders/internal")?;
/// let for_the_dashboard = orders.fallback(fixed(Response::new("[]".into())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What happens to a call
///
/// In this order, each inside of the one before:
///
/// - The [`fallback`](Self::fallback) answers requests to read, if all of the rest could not.
/// - [`total_timeout`](Self::total_timeout): all of it together has 30 seconds, and no longer than until the request's
///   [`Deadline`](bartizan::Deadline). Then it is answered with 504.
/// - [`retry`](Self::retry): up to three attempts, within a [`budget`](Self::budget), of what may be sent twice: what
///   certainly has not been processed, whatever its method; and what is idempotent or has an `Idempotency-Key`.
/// - Each attempt goes to an endpoint of its own, as long as there are others: of two by chance the one with fewer
///   requests under way, among those that take it.
/// - [`breaker`](Self::breaker): an endpoint that fails is left alone for a while. If all are, it is answered with 503. A
///   call that is refused because another was quicker to take the last place goes on to an endpoint that takes it, as
///   long as there are attempts.
/// - [`concurrency`](Self::concurrency): so many at once to an endpoint.
/// - [`attempt_timeout`](Self::attempt_timeout): 10 seconds for an attempt. The endpoint is told what is left, in
///   `x-request-timeout-ms` or `grpc-timeout`.
/// - [`body_idle_timeout`](Self::body_idle_timeout): 30 seconds between two pieces of an answer's body.
/// - A connection is made within a second of knowing the address, and within two with TLS. To look a name up has the time
///   of the attempt; with the feature `tls` all of it together has two seconds. It is kept for
///   [four seconds](Self::pool_idle_timeout) of idleness.
///
/// While the body of a request comes through a [`Proxy`](crate::Proxy) at the pace of a client, both timeouts count what
/// the endpoint lets everybody wait for: it takes nothing more of the body, or it has all of it and does not answer.
/// It is then told the request's own deadline, if there is one. Nothing takes longer than an hour.
///
/// A refusal is an answer, marked with [`Refusal`](bartizan::Refusal); a [`SendError`] means that there was none at all.
/// What stands outside of this, stands outside of the service: put layers round it, such as a cache.
///
/// # What it remembers
///
/// A breaker, a count and a pool of connections for each endpoint, and a budget for retries. Clones share all of it, and
/// so does what is made of a clone by changing how it is called, unless it says that the endpoints begin anew.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    name: Arc<str>,
    addresses: Arc<[Address]>,
    protocol: Protocol,
    trust: Trust,
    policy: Policy,
    endpoints: Arc<[Stacked]>,
    stack: Stack,
}

// ===== impl Upstream =====

impl Upstream {
    /// The service `name`, which is served at these endpoints.
    ///
    /// # Errors
    /// If there is no endpoint; if one is not the `http` or `https` URL of a host without a path, or is there twice; or
    /// if the name could not stand in a URL in the place of a host.
    pub fn new<U: AsRef<str>>(
        name: impl Into<Arc<str>>,
        endpoints: impl IntoIterator<Item = U>,
    ) -> Result<Self, UpstreamError> {
        let name = name.into();
        check_name(&name).map_err(|why| UpstreamError::new(&name, format_args!("the name can't be used: {why}")))?;
        let mut addresses = Vec::new();
        for url in endpoints {
            let url = url.as_ref();
            let error = |why| UpstreamError::new(&name, format_args!("the endpoint {url:?} can't be used: {why}"));
            let address = Address::parse(url).map_err(error)?;
            if address.is_secure() && !HAS_TLS {
                return Err(error("TLS is in the feature `tls`, which is off"));
            }
            if addresses.iter().any(|there: &Address| there.is_same(&address)) {
                return Err(error("it is there twice"));
            }
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(UpstreamError::new(&name, "it has no endpoint"));
        }
        let (protocol, trust, policy) = (Protocol::default(), Trust::default(), Policy::default());
        let endpoints = policy.endpoints(&addresses, protocol, &trust);
        let stack = policy.stack(&endpoints);
        Ok(Self(Arc::new(Inner { name, addresses: addresses.into(), protocol, trust, policy, endpoints, stack })))
    }

    /// Speaks HTTP/2 with the endpoints, without asking first: those at `http://` have to understand it on a connection
    /// without TLS. If nothing is said it is HTTP/1.1, or with TLS what the endpoint prefers.
    ///
    /// The endpoints begin anew with this: say it before calling.
    #[must_use]
    pub fn http2(self) -> Self {
        self.anew(|inner| inner.protocol = Protocol::Http2)
    }

    /// Trusts whom `tls` says, at `https://` endpoints. Those whom browsers trust, if nothing is said.
    ///
    /// The endpoints begin anew with this: say it before calling.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: super::tls::Tls) -> Self {
        self.anew(|inner| inner.trust = tls)
    }

    /// Sends again what may be sent twice, to another endpoint if there is one, as `policy` has it. Three attempts, if
    /// nothing is said.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.with(|ours| ours.retry = policy)
    }

    /// Draws retries on this budget, which can be shared with whatever else calls the service. A [`Budget`] of its own,
    /// if nothing is said.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|ours| ours.budget = budget)
    }

    /// The time for a call in all, until the head of its answer. 30 seconds, if nothing is said; the request's
    /// [`Deadline`](bartizan::Deadline) counts as well.
    #[must_use]
    pub fn total_timeout(self, limit: Duration) -> Self {
        self.with(|ours| ours.total = limit)
    }

    /// The time for one attempt, until the head of its answer. 10 seconds, if nothing is said, and never more than nine
    /// tenths of the [total](Self::total_timeout): so it is told that an endpoint is slow, before nobody waits any more.
    #[must_use]
    pub fn attempt_timeout(self, limit: Duration) -> Self {
        self.with(|ours| ours.attempt = limit)
    }

    /// How long an endpoint may send nothing, once it has begun to answer. 30 seconds, if nothing is said; `None` is for ever.
    ///
    /// An answer that rests for longer breaks off: it gives back its place among the [concurrent](Self::concurrency)
    /// ones, and its breaker counts a failure. Those add up until a call ends well, however far apart they are. Only the
    /// time counts in which somebody waits for the endpoint, and none that a client takes to read, or to send more of its
    /// request.
    ///
    /// A stream that is meant to be quiet at times (server-sent events without a heartbeat, a long poll that has sent its
    /// head, a subscription over gRPC) needs a longer limit, or none: it is best called through an upstream of its own.
    /// After a switch to another protocol nothing is limited.
    #[must_use]
    pub fn body_idle_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        self.with(|ours| ours.body_idle = limit)
    }

    /// What is answered to `GET`, `HEAD`, `OPTIONS` and `TRACE` when the service can't: one of [`fixed`], [`from_fn`] and
    /// [`from_part`]. What asks for a change is told that it failed. `x-fallback` says why, in the words of
    /// [`Cause`](crate::Cause) where there was no answer at all.
    ///
    /// To answer that too, or to ask another service instead, put a [`FallbackLayer`] round the upstream.
    ///
    /// [`fixed`]: bartizan::fallback::fixed
    /// [`from_fn`]: bartizan::fallback::from_fn
    /// [`from_part`]: bartizan::fallback::from_part
    /// [`FallbackLayer`]: bartizan::fallback::FallbackLayer
    #[must_use]
    pub fn fallback<A>(self, answer: A) -> Self
    where
        A: Answer<Body, AttemptBody, SendError, Kept: Send + 'static, Future: Send + 'static> + Send + Sync + 'static,
    {
        self.with(|ours| ours.instead = Instead::new(answer))
    }

    /// How long a connection is kept that nobody uses. Four seconds, if nothing is said.
    ///
    /// It should be less than the endpoints keep theirs, so that a request seldom meets a connection that the other side
    /// has just closed: many servers close after five seconds, others after a minute or more, for which a longer time saves
    /// connections.
    ///
    /// The endpoints begin anew with this: say it before calling.
    #[must_use]
    pub fn pool_idle_timeout(self, limit: Duration) -> Self {
        self.anew(|inner| inner.policy.pool_idle = limit)
    }

    /// When an endpoint that fails is left alone. See [`BreakerPolicy::new`] for what holds if nothing is said.
    ///
    /// The endpoints begin anew with this: say it before calling.
    #[must_use]
    pub fn breaker(self, policy: BreakerPolicy) -> Self {
        self.anew(|inner| inner.policy.breaker = policy)
    }

    /// So many requests at once to each endpoint, counted until the last bytes of their answers; further ones go to other
    /// endpoints, and if all are full are answered with 503. As many as there are, if nothing is said.
    ///
    /// The endpoints begin anew with this: say it before calling.
    ///
    /// # Panics
    /// If it is 0: nobody would ever get in.
    #[must_use]
    pub fn concurrency(self, limit: u32) -> Self {
        self.anew(|inner| inner.policy.concurrency = limit)
    }

    /// Tells `observe` what happens. Called in the middle of calls: be quick.
    ///
    /// The endpoints begin anew with this: say it before calling.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&UpstreamEvent<'_>) + Send + Sync + 'static) -> Self {
        self.anew(|inner| inner.policy.observer = Observer::new(observe))
    }

    /// How each endpoint does, in the order in which they were given.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.0.endpoints.iter().map(|endpoint| endpoint.state.status()).collect()
    }

    /// The breaker of each endpoint, with its URL: to watch it, or to steer it.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, &Breaker)> {
        self.0.endpoints.iter().map(|endpoint| (&*endpoint.state.url, &endpoint.state.breaker))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Changes how calls are made, to the same endpoints.
    fn with(self, change: impl FnOnce(&mut Policy)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner.policy);
        inner.endpoints = inner.policy.restack(&inner.endpoints);
        inner.stack = inner.policy.stack(&inner.endpoints);
        Self(Arc::new(inner))
    }

    /// Changes how endpoints are called, with nothing known of them yet.
    fn anew(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        inner.endpoints = inner.policy.endpoints(&inner.addresses, inner.protocol, &inner.trust);
        inner.stack = inner.policy.stack(&inner.endpoints);
        Self(Arc::new(inner))
    }

    pub(super) fn send<B>(&self, request: Request<B>) -> Answering
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let mut request = request.map(Body::new);
        let Inner { endpoints, policy, stack, .. } = &*self.0;
        let has_fallback = policy.instead.is_there();
        if let Some(attempts) = Attempts::of(request.extensions()) {
            attempts.ask(endpoints);
        } else if endpoints.len() > 1 || has_fallback {
            // Where there is one endpoint and nobody says why it could not answer, all that could be remembered is for who
            // asks.
            request.extensions_mut().insert(Attempts::default());
        }
        let attempts = if has_fallback { Attempts::of(request.extensions()).cloned() } else { None };
        Answering::asked(stack.clone().oneshot(request), attempts)
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<UpstreamBody>;
    type Error = SendError;
    type Future = Answering;

    /// Always: what can't be sent now is answered so.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        self.send(request)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.0.addresses.iter().map(ToString::to_string).collect();
        f.debug_struct("Upstream").field("name", &self.0.name).field("endpoints", &endpoints).finish_non_exhaustive()
    }
}
