//! How the deadline of a request that comes in plugs in.

use super::{
    event::Event,
    future::ResponseFuture,
    refusal::Refuse,
    time_left::{LONGEST, coming_in},
    wire,
};
use crate::shared::{Deadline, ResponseBody, TrustedProxies, with_head};
use bytes::Bytes;
use http::{HeaderName, Request, Response, request::Parts};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Gives each request that comes in a deadline. See the [module](super).
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    policy: Arc<Policy>,
}

#[derive(Clone)]
struct Policy {
    maximum: Duration,
    millis: HeaderName,
    trust: Trust,
    refuse: Refuse,
    observer: Option<Observer>,
}

#[derive(Clone, Debug)]
enum Trust {
    Never,
    From(TrustedProxies),
    Always,
}

pub(super) type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The service of [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct Deadlines<S> {
    inner: S,
    policy: Arc<Policy>,
}

/// The field of plain HTTP. There is no standard; this name says what it holds.
pub(super) const MILLIS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

// ===== impl DeadlineLayer =====

impl DeadlineLayer {
    /// Gives each request `maximum`, or what its sender tells if that is less and the sender is trusted. Nobody is, to
    /// begin with.
    ///
    /// More than thirty years counts as thirty years.
    #[must_use]
    pub fn new(maximum: Duration) -> Self {
        let (millis, trust, refuse) = (MILLIS, Trust::Never, Refuse::new());
        Self { policy: Arc::new(Policy { maximum: maximum.min(LONGEST), millis, trust, refuse, observer: None }) }
    }

    /// Believes what requests tell whose peer is one of these proxies: a gateway, or services that call this one.
    #[must_use]
    pub fn trust(self, proxies: TrustedProxies) -> Self {
        self.with(|policy| policy.trust = Trust::From(proxies))
    }

    /// Believes what every request tells: for a service that only other services of yours can reach.
    #[must_use]
    pub fn trust_everybody(self) -> Self {
        self.with(|policy| policy.trust = Trust::Always)
    }

    /// Names the field that tells the time in milliseconds; `x-request-timeout-ms` by default.
    ///
    /// Behind Envoy it is `x-envoy-expected-rq-timeout-ms`, in the Connect protocol `connect-timeout-ms`. `grpc-timeout`
    /// is read besides.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|policy| policy.millis = name)
    }

    /// Answers with this function when the deadline has passed. The mark is added to whatever it makes.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.refuse.by(answer))
    }

    /// Tells this function what happens to each request's deadline.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

/// A maximum of 30 seconds, as Apollo's router, Polly and Microsoft's standard pipeline have it.
impl Default for DeadlineLayer {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner, policy: Arc::clone(&self.policy) }
    }
}

// ===== impl Deadlines =====

impl<S, B, R> Service<Request<B>> for Deadlines<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let told = self.policy.told(&mut request);
        let Ok(deadline) = coming_in(now, Deadline::of(request.extensions()), told, self.policy.maximum) else {
            self.policy.tell(|| Event::Refused);
            return ResponseFuture::refused(self.policy.refuse.answer(request));
        };
        deadline.tighten(request.extensions_mut());
        self.policy.tell(|| Event::Set(deadline.instant() - now));
        ResponseFuture::called(self.inner.call(request))
    }
}

// ===== impl Policy =====

impl Policy {
    /// What a trusted sender tells.
    fn told<B>(&self, request: &mut Request<B>) -> Option<Duration> {
        if matches!(self.trust, Trust::Never) {
            return None;
        }
        match wire::read(request.headers(), &self.millis) {
            Ok(None) => None,
            _ if !self.trusts_sender_of(request) => None,
            Ok(told) => told,
            Err(wire::Malformed) => {
                self.tell(|| Event::Malformed);
                tracing::debug!(deadline.malformed = true, "a trusted sender told what is no length of time");
                None
            }
        }
    }

    fn trusts_sender_of<B>(&self, request: &mut Request<B>) -> bool {
        match &self.trust {
            Trust::Never => false,
            Trust::From(proxies) => with_head(request, |head| proxies.trusts_peer_of(head)),
            Trust::Always => true,
        }
    }

    fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            observer(&event());
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { maximum, millis, trust, .. } = self;
        let mut policy = f.debug_struct("Policy");
        policy.field("maximum", maximum).field("header", millis).field("trust", trust).finish_non_exhaustive()
    }
}
