//! How a fallback plugs in.

use super::{
    answer::Answer,
    future::ResponseFuture,
    reason::{Reason, Triggers},
};
use crate::shared::ResponseBody;
use http::{HeaderName, Request, Response, StatusCode};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Answers in the place of a service that cannot. See the [module](super).
pub struct FallbackLayer<A> {
    policy: Arc<Policy<A>>,
}

/// What a fallback knows. One for all clones of a layer.
pub(super) struct Policy<A> {
    pub(super) answer: Arc<A>,
    pub(super) triggers: Triggers,
    pub(super) field: Option<HeaderName>,
    observer: Option<Observer>,
}

type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// What a fallback did, for [`FallbackLayer::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It answered in the place of the service, for this reason.
    Answered(Reason),
    /// It could not answer either: the service that it asked failed, answered 5xx or the same in gRPC's words, was
    /// refused by one of our layers, or took longer than until the deadline.
    Failed(Reason),
    /// The deadline had passed, so that no other service was asked: what the service answered, it answered.
    NoTime(Reason),
}

/// The service of [`FallbackLayer`].
pub struct WithFallback<S, A> {
    inner: S,
    policy: Arc<Policy<A>>,
}

// ===== impl FallbackLayer =====

impl<A> FallbackLayer<A> {
    /// Answers with [`fixed`](super::fixed), [`from_fn`](super::from_fn), [`from_part`](super::from_part) or
    /// [`service`](super::service) when the service fails, when one of our layers refuses to call it or gives it up
    /// (503 and 504, or `UNAVAILABLE` and `DEADLINE_EXCEEDED`), or when it answers 502, 503 or 504; and says so in the
    /// field `x-fallback`. Requests to read are answered so: those with the methods `GET`, `HEAD`, `OPTIONS` and `TRACE`
    /// (RFC 9110 §9.2.1).
    #[must_use]
    pub fn new(answer: A) -> Self {
        let field = Some(HeaderName::from_static("x-fallback"));
        let (answer, triggers) = (Arc::new(answer), Triggers::new());
        Self { policy: Arc::new(Policy { answer, triggers, field, observer: None }) }
    }

    /// For which statuses of the service: in the place of 502, 503 and 504. Our own refusals count in any case.
    ///
    /// # Panics
    /// If one of them is not 5xx. What is wrong with a request is for its sender to see.
    #[must_use]
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.with(|policy| policy.triggers.set_statuses(statuses))
    }

    /// Lets errors of the service pass, for somebody further out who tells them apart. An error that is answered is
    /// dropped unseen.
    #[must_use]
    pub fn pass_errors(self) -> Self {
        self.with(|policy| policy.triggers.errors = false)
    }

    /// Answers also when a rate limit of ours has refused to call the service.
    ///
    /// For a stack of calls that go out, with a limit inside that spares the other side: its 429 is not about who asks
    /// us. A 429 that the other side has sent passes all the same, as every 4xx does.
    #[must_use]
    pub fn answer_rate_limited(self) -> Self {
        self.with(|policy| policy.triggers.rate_limited = true)
    }

    /// Answers also requests with methods that are not safe: `POST`, `PUT`, `PATCH`, `DELETE`, and any that is not known.
    ///
    /// For a service that is asked by `POST`, as by gRPC, GraphQL or a search; or if the answer says that nothing was
    /// changed. A client takes a success for the confirmation of an order that may have been lost.
    #[must_use]
    pub fn answer_unsafe_methods(self) -> Self {
        self.with(|policy| policy.triggers.unsafe_methods = true)
    }

    /// Names the field that tells the reason: `breaker_open`, `timeout`, `503`, `error`. It is `x-fallback` by default.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|policy| policy.field = Some(name))
    }

    /// Tells clients nothing. The mark [`Fallback`](super::Fallback) in the response's extensions stays.
    #[must_use]
    pub fn no_header(self) -> Self {
        self.with(|policy| policy.field = None)
    }

    /// Tells this function what happens.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Policy<A>)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<S, A> Layer<S> for FallbackLayer<A> {
    type Service = WithFallback<S, A>;

    fn layer(&self, inner: S) -> WithFallback<S, A> {
        WithFallback { inner, policy: Arc::clone(&self.policy) }
    }
}

impl<A> Clone for FallbackLayer<A> {
    fn clone(&self) -> Self {
        Self { policy: Arc::clone(&self.policy) }
    }
}

impl<A: fmt::Debug> fmt::Debug for FallbackLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").field("policy", &self.policy).finish()
    }
}

// ===== impl WithFallback =====

impl<S, A, B, R> Service<Request<B>> for WithFallback<S, A>
where
    S: Service<Request<B>, Response = Response<R>>,
    A: Answer<B, R, S::Error>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, A, B, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Policy { answer, triggers, .. } = &*self.policy;
        let kept = triggers.includes(request.method()).then(|| answer.keep(&mut request));
        ResponseFuture::new(self.inner.call(request), kept, Arc::clone(&self.policy))
    }
}

impl<S: Clone, A> Clone for WithFallback<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), policy: Arc::clone(&self.policy) }
    }
}

impl<S: fmt::Debug, A: fmt::Debug> fmt::Debug for WithFallback<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithFallback").field("inner", &self.inner).field("policy", &self.policy).finish()
    }
}

// ===== impl Policy =====

impl<A> Policy<A> {
    pub(super) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

impl<A> Clone for Policy<A> {
    fn clone(&self) -> Self {
        let Self { answer, triggers, field, observer } = self;
        Self {
            answer: Arc::clone(answer),
            triggers: triggers.clone(),
            field: field.clone(),
            observer: observer.clone(),
        }
    }
}

impl<A: fmt::Debug> fmt::Debug for Policy<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answer, triggers, field, .. } = self;
        let mut policy = f.debug_struct("Policy");
        policy.field("answer", answer).field("triggers", triggers).field("header", field).finish_non_exhaustive()
    }
}
