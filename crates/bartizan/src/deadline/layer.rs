//! How the deadline of a request that comes in plugs in.

use super::{event::Event, future::ResponseFuture, refusal::Refuse, time_left::coming_in, wire};
use crate::shared::{Deadline, ResponseBody, THIRTY_YEARS, TrustedProxies, with_head};
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
    terms: Arc<Terms>,
}

/// How long requests get, and whose word on it counts.
#[derive(Clone)]
struct Terms {
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
    terms: Arc<Terms>,
}

/// The field of plain HTTP. There is no standard; this name says what it holds.
pub(super) const MILLIS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

// ===== impl DeadlineLayer =====

impl DeadlineLayer {
    /// Gives each request `maximum`, or what its sender tells if that is less and the sender is trusted. Nobody is, to
    /// begin with. The fields in which it could tell are taken away: from here on the [`Deadline`] carries the time.
    ///
    /// More than thirty years counts as thirty years.
    #[must_use]
    pub fn new(maximum: Duration) -> Self {
        let (millis, trust, refuse) = (MILLIS, Trust::Never, Refuse::new());
        Self { terms: Arc::new(Terms { maximum: maximum.min(THIRTY_YEARS), millis, trust, refuse, observer: None }) }
    }

    /// Believes what requests tell whose peer is one of these proxies: a gateway, or services that call this one.
    #[must_use]
    pub fn trust(self, proxies: TrustedProxies) -> Self {
        self.with(|terms| terms.trust = Trust::From(proxies))
    }

    /// Believes what every request tells: for a service that only other services of yours can reach.
    #[must_use]
    pub fn trust_everybody(self) -> Self {
        self.with(|terms| terms.trust = Trust::Always)
    }

    /// Names the field that tells the time in milliseconds; `x-request-timeout-ms` by default.
    ///
    /// Behind Envoy it is `x-envoy-expected-rq-timeout-ms`, in the Connect protocol `connect-timeout-ms`. `grpc-timeout`
    /// is read besides.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|terms| terms.millis = name)
    }

    /// Answers with this function when the deadline has passed. The mark is added to whatever it makes.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|terms| terms.refuse.by(answer))
    }

    /// Tells this function what happens to each request's deadline.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|terms| terms.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(Arc::make_mut(&mut self.terms));
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
        Deadlines { inner, terms: Arc::clone(&self.terms) }
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
        let told = self.terms.told(&mut request);
        wire::clear(request.headers_mut(), &self.terms.millis);
        let Ok(deadline) = coming_in(now, Deadline::of(request.extensions()), told, self.terms.maximum) else {
            self.terms.tell(|| Event::Refused);
            return ResponseFuture::refused(self.terms.refuse.answer(request));
        };
        deadline.tighten(request.extensions_mut());
        self.terms.tell(|| Event::Set(deadline.instant() - now));
        ResponseFuture::called(self.inner.call(request))
    }
}

// ===== impl Terms =====

impl Terms {
    /// What a trusted sender tells.
    fn told<B>(&self, request: &mut Request<B>) -> Option<Duration> {
        if matches!(self.trust, Trust::Never) {
            return None;
        }
        let told = wire::read(request.headers(), &self.millis);
        if told == wire::Told::default() || !self.trusts_sender_of(request) {
            return None;
        }
        if told.is_malformed {
            self.tell(|| Event::Malformed);
            tracing::debug!(deadline.malformed = true, "a trusted sender told what is no length of time");
        }
        told.time
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

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { maximum, millis, trust, .. } = self;
        let mut terms = f.debug_struct("Terms");
        terms.field("maximum", maximum).field("header", millis).field("trust", trust).finish_non_exhaustive()
    }
}
