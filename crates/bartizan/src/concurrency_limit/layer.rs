//! How the limit plugs in.

use super::{
    event::{Event, Refused},
    future::ResponseFuture,
    gate::{Gate, Joined, Permit, Ticket},
    limit::ConcurrencyLimit,
};
use crate::shared::{
    Deadline, GrpcStatus, OnRefusal, PreparedRefusal, Problem, Refusal, ResponseBody, Said, sync::Arc as GateArc,
    with_head,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Duration, Instant};
use tower_layer::Layer;
use tower_service::Service;

/// Limits how many requests are in flight. See the [module](super).
#[derive(Clone)]
pub struct ConcurrencyLimitLayer {
    door: Arc<Door>,
}

/// The service that [`ConcurrencyLimitLayer`] makes.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimited<S> {
    inner: S,
    door: Arc<Door>,
}

/// What the clones of a layer share.
#[derive(Clone)]
pub(super) struct Door {
    limit: ConcurrencyLimit,
    /// Where the usual request enters, if it may without a look at its head and nobody observes it.
    plain: Option<GateArc<Gate>>,
    /// Whether it is simply refused where there is no permit.
    turns_away: bool,
    key: Option<Arc<dyn Fn(&ConcurrencyLimit, &Parts) -> Option<u64> + Send + Sync>>,
    exempt: Option<Arc<dyn Fn(&Parts) -> bool + Send + Sync>>,
    patience: Option<Patience>,
    /// In seconds.
    retry_after: u64,
    refusal: PreparedRefusal,
    on_refusal: Option<OnRefusal<Refused>>,
    observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
}

#[derive(Clone, Copy, Debug)]
struct Patience {
    longest: Duration,
    queue: usize,
}

/// What becomes of a request.
enum Decision {
    Call(Option<Permit>),
    Wait(Ticket, Instant),
    Refuse(Refused),
}

// ===== impl ConcurrencyLimitLayer =====

impl ConcurrencyLimitLayer {
    /// Lets as many be in flight as `limit` says: a [`ConcurrencyLimit`], or the number for one that nobody else holds.
    /// Nobody waits; `Retry-After` is one second.
    pub fn new(limit: impl Into<ConcurrencyLimit>) -> Self {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("Too many requests are being answered at the moment. Send this one again later.");
        let refusal = Refusal::new("overloaded");
        let refusal = PreparedRefusal::new(refusal, problem, GrpcStatus::UNAVAILABLE, "too many requests in flight");
        let limit = limit.into();
        let door = Door {
            plain: Some(GateArc::clone(limit.gate())),
            limit,
            turns_away: true,
            key: None,
            exempt: None,
            patience: None,
            retry_after: 1,
            refusal,
            on_refusal: None,
            observer: None,
        };
        Self { door: Arc::new(door) }
    }

    /// Limits each key by itself: a tenant, a route, an upstream. Requests without a key share one limit.
    #[must_use]
    pub fn key_by<K: Hash>(self, key: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static) -> Self {
        self.door.limit.tell_apart();
        self.with(|door| {
            door.key = Some(Arc::new(move |limit, head| key(head).map(|key| limit.fingerprint(&key))));
        })
    }

    /// Lets a request wait for a permit, at most `longest` and not past its [`Deadline`](crate::Deadline), instead of
    /// refusing it.
    ///
    /// `queue` is how many may wait at once, or for each key; further ones are refused. They enter in the order in which
    /// they came, and nobody who comes later overtakes them. Who waits keeps nothing of the service from others: only with a
    /// permit is it asked whether it is ready, and that is waited for no longer.
    #[must_use]
    pub fn wait_up_to(self, longest: Duration, queue: usize) -> Self {
        self.with(|door| door.patience = Some(Patience { longest, queue }).filter(|patience| patience.queue > 0))
    }

    /// Lets the requests for which this is true pass, and does not count them: health checks, most of all. Said again, it
    /// lets those pass as well.
    #[must_use]
    pub fn exempt(self, exempt: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|door| {
            door.exempt = Some(match door.exempt.take() {
                Some(others) => Arc::new(move |head| others(head) || exempt(head)),
                None => Arc::new(exempt),
            });
        })
    }

    /// When a refused client shall come back: rounded up to whole seconds, and one at least. By default one.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
        self.with(|door| door.retry_after = seconds.max(1))
    }

    /// Replaces what a refused client gets. `Retry-After`, if yours has none, is still added.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Refused, &Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|door| door.on_refusal = Some(OnRefusal::new(answer)))
    }

    /// Tells `observe` what the limit does. Called in the middle of the request: be quick.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|door| door.observer = Some(Arc::new(observe)))
    }

    fn with(mut self, change: impl FnOnce(&mut Door)) -> Self {
        let door = Arc::make_mut(&mut self.door);
        change(door);
        let is_plain = !door.wants_heads() && door.observer.is_none();
        door.plain = is_plain.then(|| GateArc::clone(door.limit.gate()));
        door.turns_away = is_plain && door.patience.is_none() && door.on_refusal.is_none();
        self
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimited<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimited<S> {
        ConcurrencyLimited { inner, door: Arc::clone(&self.door) }
    }
}

impl fmt::Debug for ConcurrencyLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer").field("door", &self.door).finish()
    }
}

// ===== impl ConcurrencyLimited =====

impl<S, B, R> Service<Request<B>> for ConcurrencyLimited<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Response = Response<ResponseBody<R, Permit>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(permit) = self.door.enter() {
            return ResponseFuture::calling(self.inner.call(request), Some(permit));
        }
        if self.door.turns_away {
            return ResponseFuture::refused(self.door.refusal.respond(&mut request, Some(self.door.retry_after)));
        }
        self.call_otherwise(request)
    }
}

impl<S> ConcurrencyLimited<S> {
    /// Who has to be looked at, or may wait. A request that is lent to be changed is copied once more on its way.
    #[inline]
    fn call_otherwise<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>> + Clone,
    {
        match self.door.decide(&mut request) {
            Decision::Call(permit) => ResponseFuture::calling(self.inner.call(request), permit),
            Decision::Refuse(refused) => ResponseFuture::refused(self.door.refuse(refused, &mut request)),
            Decision::Wait(ticket, until) => {
                // The instance that is ready may hold a place that others wait for, and is given up. One that is not is made
                // ready when there is a permit.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                ResponseFuture::waiting(ticket, until, inner, request, Arc::clone(&self.door))
            }
        }
    }
}

// ===== impl Door =====

impl Door {
    /// A permit for a request that need not be looked at: for most.
    #[inline]
    fn enter(&self) -> Option<Permit> {
        Gate::enter(self.plain.as_ref()?)
    }

    fn decide<B>(&self, request: &mut Request<B>) -> Decision {
        if let Some(gate) = &self.plain {
            return self.wait_or_refuse(gate, request);
        }
        let (is_exempt, key) = self.judge(request);
        if is_exempt {
            return Decision::Call(None);
        }
        let gate = key.map_or_else(|| GateArc::clone(self.limit.gate()), |key| self.limit.gate_of(key));
        match Gate::enter(&gate) {
            Some(permit) => self.admit(permit),
            None => self.wait_or_refuse(&gate, request),
        }
    }

    /// Whether the request is exempt, and its key.
    fn judge<B>(&self, request: &mut Request<B>) -> (bool, Option<u64>) {
        if !self.wants_heads() {
            return (false, None);
        }
        with_head(request, |head| {
            let is_exempt = self.exempt.as_ref().is_some_and(|exempt| exempt(head));
            let key = self.key.as_ref().filter(|_| !is_exempt);
            (is_exempt, key.and_then(|key| key(&self.limit, head)))
        })
    }

    fn wants_heads(&self) -> bool {
        self.key.is_some() || self.exempt.is_some()
    }

    #[cold]
    fn wait_or_refuse<B>(&self, gate: &GateArc<Gate>, request: &Request<B>) -> Decision {
        let Some(Patience { longest, queue }) = self.patience else { return Decision::Refuse(Refused::Full) };
        let now = Instant::now();
        let latest = Deadline::after(longest);
        let until = Deadline::of(request.extensions()).map_or(latest, |deadline| deadline.min(latest)).instant();
        if until <= now {
            return Decision::Refuse(Refused::WaitedTooLong);
        }
        match Gate::enter_or_join(gate, queue) {
            Joined::Entered(permit) => self.admit(permit),
            Joined::Waiting(ticket) => Decision::Wait(ticket, until),
            Joined::QueueFull => Decision::Refuse(Refused::QueueFull),
        }
    }

    fn admit(&self, permit: Permit) -> Decision {
        self.tell(Event::Admitted);
        Decision::Call(Some(permit))
    }

    #[cold]
    pub(super) fn refuse<B>(&self, refused: Refused, request: &mut Request<B>) -> Response<Said> {
        self.tell(Event::Refused(refused));
        let retry_after = Some(self.retry_after);
        match &self.on_refusal {
            None => self.refusal.respond(request, retry_after),
            Some(answer) => {
                let response = with_head(request, |head| answer.answer(&refused, head));
                self.refusal.mark(response, retry_after)
            }
        }
    }

    #[inline]
    pub(super) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("limit", &self.limit)
            .field("is_keyed", &self.key.is_some())
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
