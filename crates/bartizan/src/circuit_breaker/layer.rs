//! How the breaker plugs in.

use super::{
    body::WatchedBody,
    breaker::Breaker,
    core::{Asked, Core, Handle},
    event::Event,
    future::ResponseFuture,
    gate::{Waiting, opened},
    machine::Nanos,
    outcome::{AllFail, Classify, ClassifyError, Outcome},
    permit::{Call, Pass},
    refusal::{Answer, Refused},
};
use crate::shared::{OnRefusal, Said, with_head};
use bartizan_store::Key;
use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body::Body;
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_layer::Layer;
use tower_service::Service;

/// Refuses to call a service that fails. See the [module](crate::circuit_breaker) for an example.
#[derive(Clone)]
pub struct CircuitBreakerLayer<C = AllFail> {
    rules: Arc<Rules<C>>,
}

/// The service of [`CircuitBreakerLayer`].
pub struct CircuitBreaker<S, C = AllFail> {
    inner: S,
    rules: Arc<Rules<C>>,
    waiting: Option<Waiting>,
}

/// What all clones of a layer share; aligned for the same reason as [`Core`].
#[derive(Clone)]
#[repr(align(128))]
pub(super) struct Rules<C> {
    breaker: Breaker,
    gate: bool,
    key: Option<Arc<KeyBy>>,
    classify: Option<Arc<Classify>>,
    errors: C,
    /// Whether somebody else than we tells what an answer or an error says.
    custom: bool,
    /// Whether a call needs nothing but the breaker, and we tell what its answer says.
    is_plain: bool,
    answer: Answer,
}

type KeyBy = dyn Fn(&request::Parts) -> Option<Key> + Send + Sync;

// ===== impl CircuitBreakerLayer =====

impl CircuitBreakerLayer {
    /// Asks `breaker` before each call, and tells it how the call went.
    ///
    /// 5xx are failures, but for 501 and 505, which say nothing; 429 is a soft one; so are their counterparts in gRPC.
    /// Any error of the service is a failure, a body that breaks is one, and so is a timeout of ours further in; a
    /// deadline that passes in a call is one if the call was slow by then. All else that our own layers refuse further in
    /// says nothing.
    #[must_use]
    pub fn new(breaker: Breaker) -> Self {
        let rules = Rules {
            breaker,
            gate: false,
            key: None,
            classify: None,
            errors: AllFail,
            custom: false,
            is_plain: true,
            answer: Answer::new(),
        };
        Self { rules: Arc::new(rules) }
    }
}

impl<C: Clone> CircuitBreakerLayer<C> {
    /// A breaker for each key, such as a host, a route or a tenant. Requests without one share the breaker itself. See
    /// [`Breaker::keys_at_most`].
    #[must_use]
    pub fn key_by(self, key: impl Fn(&request::Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.key = Some(Arc::new(key)))
    }

    /// Is not ready while the breaker is open, instead of refusing: for the endpoints of a balancer, which then takes
    /// another one. There is no ramp, and with [`key_by`](Self::key_by) it is the breaker itself that counts.
    ///
    /// Nothing is reserved by being ready: a call that comes too late for a probe is refused all the same.
    #[must_use]
    pub fn gate(self) -> Self {
        self.with(|rules| rules.gate = true)
    }

    /// What the head of a response says about the service, instead of [`Outcome::of_status`].
    ///
    /// Trailers of gRPC still count, as do bodies that break. The function isn't asked about what our own layers refuse.
    #[must_use]
    pub fn classify(self, classify: impl Fn(&response::Parts) -> Outcome + Send + Sync + 'static) -> Self {
        self.with(|rules| {
            rules.classify = Some(Arc::new(classify));
            rules.custom = true;
        })
    }

    /// What an error of the service says about it: a function of the error. By default [all are failures](AllFail).
    #[must_use]
    pub fn classify_error<D>(self, errors: D) -> CircuitBreakerLayer<D> {
        let Rules { breaker, gate, key, classify, answer, .. } = Arc::unwrap_or_clone(self.rules);
        let (custom, is_plain) = (true, false);
        let rules = Rules { breaker, gate, key, classify, errors, custom, is_plain, answer };
        CircuitBreakerLayer { rules: Arc::new(rules) }
    }

    /// Replaces what a refused client gets. `Retry-After` is still added, if yours has none.
    #[must_use]
    pub fn on_refusal(
        self,
        answer: impl Fn(&Refused, &request::Parts) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.with(|rules| rules.answer.instead = Some(OnRefusal::new(answer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules<C>)) -> Self {
        let rules = Arc::make_mut(&mut self.rules);
        change(rules);
        rules.is_plain = rules.key.is_none() && !rules.custom;
        self
    }
}

impl<S, C> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker { inner, rules: Arc::clone(&self.rules), waiting: None }
    }
}

impl<C> fmt::Debug for CircuitBreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("breaker", &self.rules.breaker).finish_non_exhaustive()
    }
}

// ===== impl CircuitBreaker =====

impl<S, C, B, R> Service<Request<B>> for CircuitBreaker<S, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: ClassifyError<S::Error>,
    R: Body,
{
    type Response = Response<WatchedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.rules.gate {
            ready!(self.poll_gate(cx));
        }
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.rules.is_plain {
            let handle = self.rules.breaker.handle();
            if let Some(pass) = handle.pass() {
                return watch(&mut self.inner, request, handle, pass, None);
            }
            if self.rules.answer.instead.is_none()
                && let Some(after) = handle.0.refuse_if_open()
            {
                return ResponseFuture::refused(self.rules.answer.prepared(after, &mut request));
            }
        }
        self.call_otherwise(request)
    }
}

impl<S, C> CircuitBreaker<S, C> {
    /// What most calls do not come to. A request that is lent to be changed is copied once more on its way.
    #[inline]
    fn call_otherwise<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S::Future, C>
    where
        S: Service<Request<B>>,
    {
        let rules = &self.rules;
        let of_key = rules.handle_of(&mut request);
        let handle = of_key.as_ref().unwrap_or_else(|| rules.breaker.handle());
        match handle.ask(rules.gate) {
            Asked::Pass(pass) => {
                let rules = rules.custom.then(|| Arc::clone(rules));
                return watch(&mut self.inner, request, handle, pass, rules);
            }
            Asked::PassUncounted => {}
            Asked::Refuse(after) => return ResponseFuture::refused(rules.refuse(&handle.0, after, &mut request)),
            Asked::WouldRefuse(after) => would_refuse(&handle.0, after),
        }
        ResponseFuture::called(self.inner.call(request), Call::UNCOUNTED, None)
    }

    /// Ready when a call would pass. Whoever waits is woken then.
    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            let core = &self.rules.breaker.core;
            if core.would_pass().is_ok() {
                return Poll::Ready(());
            }
            self.waiting = Some(Box::pin(opened(Arc::clone(core))));
        }
    }
}

impl<S: Clone, C> Clone for CircuitBreaker<S, C> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules), waiting: None }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breaker = &self.rules.breaker;
        f.debug_struct("CircuitBreaker").field("inner", &self.inner).field("breaker", breaker).finish_non_exhaustive()
    }
}

// ===== impl Rules =====

impl<C> Rules<C> {
    /// The breaker of the request's key; `None` if it has none.
    #[inline]
    fn handle_of<B>(&self, request: &mut Request<B>) -> Option<Arc<Handle>> {
        let key = self.key.as_ref()?;
        with_head(request, |head| key(head)).map(|key| self.breaker.handle_of(key))
    }

    #[inline(never)]
    fn refuse<B>(&self, core: &Core, after: Nanos, request: &mut Request<B>) -> Response<Said> {
        core.refuse(after);
        self.answer.respond(|| core.refused(after), after, request)
    }

    pub(super) fn classify(&self) -> Option<&Classify> {
        self.classify.as_deref()
    }

    pub(super) fn errors(&self) -> &C {
        &self.errors
    }
}

#[inline]
fn watch<S, B, C>(
    inner: &mut S,
    request: Request<B>,
    handle: &Arc<Handle>,
    pass: Pass,
    rules: Option<Arc<Rules<C>>>,
) -> ResponseFuture<S::Future, C>
where
    S: Service<Request<B>>,
{
    let blame = pass.blame(handle);
    let future = inner.call(request);
    blame.over();
    ResponseFuture::called(future, pass.call(handle), rules)
}

#[inline(never)]
fn would_refuse(core: &Core, after: Nanos) {
    core.count_refused();
    core.tell(|observe| observe(&Event::WouldRefuse(&core.refused(after))));
}
