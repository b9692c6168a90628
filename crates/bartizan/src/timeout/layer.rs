//! How the timeouts plug in.

use super::{
    due::{Due, Refused},
    future::{ResponseFuture, Time},
    policy::Policy,
};
use crate::shared::{Deadline, ResponseBody, speaks_grpc};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// The time for a request in all, whatever is tried in it. See the [module](super).
#[derive(Clone, Debug)]
pub struct TimeoutLayer {
    policy: Arc<Policy>,
}

/// The time for one attempt, inside retry and breaker. See the [module](super).
///
/// It is [`TimeoutLayer`] with other defaults: 10 seconds, and those further in are not told.
#[derive(Clone, Debug)]
pub struct AttemptTimeoutLayer(TimeoutLayer);

/// What a timeout did, for [`TimeoutLayer::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request was given up, and answered with 504.
    Refused(Refused),
}

/// The service of [`TimeoutLayer`] and of [`AttemptTimeoutLayer`].
#[derive(Debug)]
pub struct Timeout<S> {
    inner: S,
    policy: Arc<Policy>,
    readiness: Readiness,
}

/// How long the service has kept its next caller waiting for its readiness. Nothing is known unless it is counted.
#[derive(Clone, Copy, Debug)]
enum Readiness {
    Unasked,
    WaitedFor { since: Instant },
    Ready { waited: Duration },
}

// ===== impl TimeoutLayer =====

impl TimeoutLayer {
    /// Gives up after `limit`, or at the request's [`Deadline`] if that is earlier, and sets the deadline to what comes
    /// first, so that nobody further in waits any longer.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { policy: Arc::new(Policy::new(limit)) }.tightens(true)
    }

    /// Gives requests a limit of their own: by route, by method, or by an extension. For `None` the layer's holds.
    ///
    /// ```
    /// use bartizan::timeout::TimeoutLayer;
    /// use std::time::Duration;
    ///
    /// let reports_take_longer = TimeoutLayer::new(Duration::from_secs(5))
    ///     .limit_by(|head| head.uri.path().starts_with("/reports/").then_some(Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn limit_by(self, limit: impl Fn(&Parts) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.limit_by = Some(Arc::new(limit)))
    }

    /// Whether the request's [`Deadline`] is set to the limit, if that is earlier: whoever waits further in, and the
    /// next service, then know it too. It takes an extension, unless the request has a deadline already.
    #[must_use]
    pub fn tightens(self, tightens: bool) -> Self {
        self.with(|policy| policy.tightens = tightens)
    }

    /// Takes the time off the limit that the service inside was not ready.
    ///
    /// Only for callers who ask for readiness when they have a request, as `oneshot` and a retry do. A balancer asks
    /// long before, and its requests would be given up for time in which they did not wait. The waits of our own layers
    /// count in any case: they take place in the call, not in the readiness.
    #[must_use]
    pub fn count_readiness(self) -> Self {
        self.with(|policy| policy.counts_readiness = true)
    }

    /// Answers with this function. The mark is added to whatever it makes.
    ///
    /// It does not see the head of the request, which has gone to the service: to keep it would cost each request a
    /// copy, and few are late.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Refused) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.on_refusal = Some(Arc::new(answer)))
    }

    /// Tells this function of each request that is given up.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.observer = Some(Arc::new(observer)))
    }

    /// Refuses a request as the layer does, and tells of it: for a limit that is counted otherwise, such as one that leaves
    /// out the time in which a client sends a body. Whether it [speaks gRPC](crate::speaks_grpc) has to be noted while
    /// there is a request.
    #[must_use]
    pub fn refuse<B>(&self, refused: Refused, is_grpc: bool) -> Response<ResponseBody<B>> {
        self.policy.refuse(refused, is_grpc).map(ResponseBody::said)
    }

    fn with(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        let policy = Arc::make_mut(&mut self.policy);
        change(policy);
        policy.is_plain = policy.limit_by.is_none() && !policy.tightens && !policy.counts_readiness;
        self
    }
}

/// A limit of 30 seconds, as Apollo's router, Polly and Microsoft's standard pipeline have it.
impl Default for TimeoutLayer {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, policy: Arc::clone(&self.policy), readiness: Readiness::Unasked }
    }
}

// ===== impl AttemptTimeoutLayer =====

impl AttemptTimeoutLayer {
    /// Gives an attempt up after `limit`, or at the request's [`Deadline`] if that is earlier.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self(TimeoutLayer::new(limit).tightens(false))
    }

    /// Gives requests a limit of their own, as [`TimeoutLayer::limit_by`] does.
    #[must_use]
    pub fn limit_by(self, limit: impl Fn(&Parts) -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self(self.0.limit_by(limit))
    }

    /// Whether the limit becomes the attempt's [`Deadline`], as [`TimeoutLayer::tightens`] does: so that the next
    /// service learns how long this attempt waits, not how long there is for all of them.
    #[must_use]
    pub fn tightens(self, tightens: bool) -> Self {
        Self(self.0.tightens(tightens))
    }

    /// Takes the time off the limit that the service inside was not ready, as [`TimeoutLayer::count_readiness`] does.
    #[must_use]
    pub fn count_readiness(self) -> Self {
        Self(self.0.count_readiness())
    }

    /// Answers with this function, as [`TimeoutLayer::on_refusal`] does.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Refused) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self(self.0.on_refusal(answer))
    }

    /// Tells this function of each attempt that is given up.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(self.0.observe(observer))
    }
}

/// A limit of 10 seconds, as Microsoft's standard pipeline has it.
impl Default for AttemptTimeoutLayer {
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        self.0.layer(inner)
    }
}

// ===== impl Timeout =====

impl<S, B, R> Service<Request<B>> for Timeout<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let polled = self.inner.poll_ready(cx);
        if self.policy.counts_readiness {
            self.readiness = self.readiness.after(polled.is_pending());
        }
        polled
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.policy.is_plain {
            return self.call_otherwise(request);
        }
        let is_grpc = speaks_grpc(&request);
        let time = Time::Limit { limit: self.policy.limit, deadline: Deadline::standing(request.extensions()) };
        let policy = Arc::clone(&self.policy);
        ResponseFuture::called(self.inner.call(request), time, is_grpc, policy)
    }
}

impl<S> Timeout<S> {
    /// What most requests do not come to. A request that is lent to be changed is copied once more on its way.
    #[inline]
    fn call_otherwise<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S::Future>
    where
        S: Service<Request<B>>,
    {
        let policy = Arc::clone(&self.policy);
        let is_grpc = speaks_grpc(&request);
        let limit = policy.limit_of(&mut request);
        let waited = if policy.counts_readiness { self.readiness.take() } else { Duration::ZERO };
        let Some(left) = limit.checked_sub(waited) else {
            let due = Due::new(Instant::now(), limit, Duration::ZERO, None);
            return ResponseFuture::over(due, is_grpc, policy);
        };
        let deadline = Deadline::standing(request.extensions());
        let time = if policy.tightens || policy.counts_readiness {
            let due = Due::new(Instant::now(), limit, left, deadline);
            if policy.tightens {
                Deadline::at(due.at).limit_of(limit, request.extensions_mut());
            }
            Time::Until(due)
        } else {
            Time::Limit { limit, deadline }
        };
        ResponseFuture::called(self.inner.call(request), time, is_grpc, policy)
    }
}

/// Nobody has waited for a clone yet.
impl<S: Clone> Clone for Timeout<S> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy), readiness: Readiness::Unasked }
    }
}

// ===== impl Readiness =====

impl Readiness {
    fn after(self, is_pending: bool) -> Self {
        match self {
            Self::WaitedFor { .. } if is_pending => self,
            _ if is_pending => Self::WaitedFor { since: Instant::now() },
            Self::WaitedFor { since } => Self::Ready { waited: since.elapsed() },
            Self::Unasked | Self::Ready { .. } => self,
        }
    }

    fn take(&mut self) -> Duration {
        match std::mem::replace(self, Self::Unasked) {
            Self::Ready { waited } => waited,
            Self::Unasked | Self::WaitedFor { .. } => Duration::ZERO,
        }
    }
}
