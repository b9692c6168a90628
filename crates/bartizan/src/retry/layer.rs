//! How the retry plugs in.

use super::{
    attempt::X_RETRY_ATTEMPT,
    body::ResponseBody,
    budget::Budget,
    carried::Carry,
    course::Course,
    event::Event,
    failure::{Causes, Classify, Failure, can_fail},
    future::ResponseFuture,
    head::Head,
    pace::Pace,
    policy::{IDEMPOTENCY_KEY, Keyed, RetryPolicy, keyed},
    replay::{ReplayMemory, RequestBody},
};
use crate::shared::{Deadline, Refusal};
use http::{Extensions, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use std::{
    error, fmt,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Sends requests again when that is safe and likely to help. See the [module](crate::retry) for an example.
#[derive(Clone)]
pub struct RetryLayer<C = Causes> {
    rules: Arc<Rules<C>>,
}

/// The service of [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct Retry<S, C = Causes> {
    inner: S,
    rules: Arc<Rules<C>>,
}

/// All that the user said, and what was learned: shared by every clone of the layer.
#[derive(Clone)]
pub(super) struct Rules<C> {
    pub(super) policy: RetryPolicy,
    pub(super) budget: Budget,
    pub(super) memory: ReplayMemory,
    pub(super) classify: C,
    pub(super) field: HeaderName,
    pub(super) pace: Arc<Pace>,
    pub(super) carry: Vec<Carry>,
    keys: bool,
    elsewhere: Option<Arc<Elsewhere>>,
    ends_by: Option<Arc<EndsBy>>,
    observe: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
}

type Elsewhere = dyn Fn(Refusal, &Extensions) -> bool + Send + Sync;
type EndsBy = dyn Fn(&Extensions) -> Option<Deadline> + Send + Sync;

// ===== impl RetryLayer =====

impl RetryLayer {
    /// Sends requests again as `policy` has it, with a [`Budget`] of its own: that is one for each destination, if there
    /// is a layer for each. See [`RetryPolicy::attempts`] and [`Budget::new`] for the figures.
    #[must_use]
    pub fn new(policy: RetryPolicy) -> Self {
        let rules = Rules {
            policy,
            budget: Budget::new(),
            memory: ReplayMemory::of_process(),
            classify: Causes::new(),
            field: X_RETRY_ATTEMPT,
            pace: Arc::default(),
            carry: Vec::new(),
            keys: false,
            elsewhere: None,
            ends_by: None,
            observe: None,
        };
        Self { rules: Arc::new(rules) }
    }
}

impl<C: Clone> RetryLayer<C> {
    /// Draws on this budget, which several layers that send to the same destination should share. How long an attempt
    /// takes is learned anew: that is another destination.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|rules| (rules.budget, rules.pace) = (budget, Arc::default()))
    }

    /// Keeps bodies in this memory. By default in the one of the process, 64 MiB.
    #[must_use]
    pub fn memory(self, memory: ReplayMemory) -> Self {
        self.with(|rules| rules.memory = memory)
    }

    /// What errors say about a request, for a service whose errors [`Causes`] cannot see into. See [`Classify`].
    #[must_use]
    pub fn errors_by<E, F>(self, classify: F) -> RetryLayer<F>
    where
        F: Fn(&E) -> Failure + Clone,
    {
        self.classify(classify)
    }

    /// The same for [`Causes`] that know more, or a type of your own.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RetryLayer<D> {
        let Rules { policy, budget, memory, classify: _, field, pace, carry, keys, elsewhere, ends_by, observe } =
            (*self.rules).clone();
        let rules = Rules { policy, budget, memory, classify, field, pace, carry, keys, elsewhere, ends_by, observe };
        RetryLayer { rules: Arc::new(rules) }
    }

    /// Gives each POST and PATCH without an `Idempotency-Key`, or with an empty one, one of its own, the same for all
    /// attempts, which makes it one that may be sent twice. For a destination that knows the field
    /// (draft-ietf-httpapi-idempotency-key-header).
    #[must_use]
    pub fn idempotency_keys(self) -> Self {
        self.with(|rules| rules.keys = true)
    }

    /// In which field the next hop is told which attempt a retry is: `x-retry-attempt` by default. See
    /// [`Attempt`](super::Attempt).
    #[must_use]
    pub fn attempt_field(self, field: HeaderName) -> Self {
        self.with(|rules| rules.field = field)
    }

    /// Says that requests have extensions of this type, which makes their copies cheaper; nothing else changes.
    ///
    /// Every attempt sees all extensions of the request. Those of this crate cost next to nothing, one of this type an
    /// allocation; for any other, the whole map is copied, with each extension in it.
    #[must_use]
    pub fn carry<T: Clone + Send + Sync + 'static>(self) -> Self {
        self.with(|rules| {
            let carry = Carry::of::<T>().filter(|carry| !rules.carry.iter().any(|known| known.is_same(*carry)));
            rules.carry.extend(carry);
        })
    }

    /// Asks `takes`, when a layer further in has refused a request, whether it would go to another place if it were
    /// sent again. Then it is, at once and whatever its method, with
    /// [`only_repeatable`](RetryPolicy::only_repeatable) too, as long as there are attempts: nothing was sent, so it
    /// costs the budget nothing, and to the next hop it is no attempt.
    ///
    /// For a balancer whose places have a circuit breaker or a limit each: two requests at once may both choose the last
    /// free one. The function sees the refusal and the extensions of the request.
    #[must_use]
    pub fn elsewhere(self, takes: impl Fn(Refusal, &Extensions) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.elsewhere = Some(Arc::new(takes)))
    }

    /// Asks `ends_by`, when an attempt has failed that was not the last, when the time of the request is over: for one
    /// whose end moves, as that of an upload does for which only the time counts in which its service lets it wait. The
    /// request's [`Deadline`] counts as well, whichever is earlier.
    ///
    /// The function sees the extensions of the request.
    #[must_use]
    pub fn ends_by(self, ends_by: impl Fn(&Extensions) -> Option<Deadline> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.ends_by = Some(Arc::new(ends_by)))
    }

    /// Tells `observe` what happens to requests that fail. Called in the middle of the request: be quick.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.observe = Some(Arc::new(observe)))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules<C>)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = Retry<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry { inner, rules: Arc::clone(&self.rules) }
    }
}

impl<C> fmt::Debug for RetryLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("policy", &self.rules.policy).finish_non_exhaustive()
    }
}

// ===== impl Retry =====

impl<S, C, B, R> Service<Request<B>> for Retry<S, C>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>, Error: 'static> + Clone,
    C: Classify<S::Error>,
    B: Body<Error: Into<Box<dyn error::Error + Send + Sync>>>,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let given: Option<Box<RetryPolicy>> = match request.extensions().is_empty() {
            true => None,
            false => request.extensions().get().copied().map(Box::new),
        };
        if self.rules.keys {
            give_key(&mut request);
        }
        let policy = given.as_deref().unwrap_or(&self.rules.policy);
        let may_repeat = policy.attempts > 1 && policy.may_repeat(request.method(), request.headers());
        // Nothing can come of it where only an error would do and the service has none.
        let may_go_on = may_repeat || self.rules.elsewhere.is_some() || policy.unprocessed && can_fail::<S::Error>();
        if policy.attempts == 1 || !may_go_on {
            let future = self.inner.call(request.map(RequestBody::own));
            return ResponseFuture::once(future, Arc::clone(&self.rules));
        }
        let rules = Arc::clone(&self.rules);
        // This instance is the one that was polled ready; the clone is polled before it is called.
        let mut course = Course::begin(&mut request, given, may_repeat, &rules, self.inner.clone());
        let future = self.inner.call(request.map(|body| course.keep(body, &rules)));
        ResponseFuture::of_several(future, rules, course)
    }
}

/// 128 random bits as a structured field's string, as the draft has it.
#[inline(never)]
fn give_key<B>(request: &mut Request<B>) {
    if !matches!(*request.method(), Method::POST | Method::PATCH) || keyed(request.headers()) != Keyed::Not {
        return;
    }
    let key = format!("\"{:032x}\"", rand::random::<u128>());
    if let Ok(key) = HeaderValue::try_from(key) {
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
    }
}

// ===== impl Rules =====

impl<C> Rules<C> {
    /// Whether a request with this head, refused at one place, would go to another.
    pub(super) fn goes_elsewhere(&self, refusal: Refusal, head: &Head) -> bool {
        self.elsewhere.as_ref().is_some_and(|takes| takes(refusal, &head.extensions()))
    }

    /// When the time of a request with this head is over, as it looks by now.
    pub(super) fn end_of(&self, head: &Head) -> Option<Deadline> {
        let (_, deadline) = head.prior();
        let Some(ends_by) = &self.ends_by else { return deadline };
        deadline.into_iter().chain(ends_by(&head.extensions())).min()
    }

    pub(super) fn tell(&self, event: &Event) {
        if let Some(observe) = &self.observe {
            observe(event);
        }
    }
}

impl<C> fmt::Debug for Rules<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("policy", &self.policy).finish_non_exhaustive()
    }
}
