//! How the limiter plugs in.

use super::{
    body::LimitedBody,
    event::Event,
    fields::Fields,
    future::ResponseFuture,
    head::Head,
    key::{self, KeyBy},
    limiter::{Asked, Judged, Limiter},
    policy::Policy,
    refusal::Refused,
    rules::{MissingKey, Patience, Rules},
    settle::Outcome,
};
use crate::shared::{OnRefusal, TrustedProxies, with_head};
use bartizan_store::{Memory, Standing, Throttle};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// Limits the rate of requests. See the [module](crate::rate_limit) for an example.
#[derive(Clone)]
pub struct RateLimitLayer<T = Memory> {
    limiter: Arc<Limiter<T>>,
}

/// The service of [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimit<S, T = Memory> {
    inner: S,
    limiter: Arc<Limiter<T>>,
}

// ===== impl RateLimitLayer =====

impl RateLimitLayer {
    /// Grants each client this quota, counted by the [peer's address](key::client), in a [`Memory`] of its own for
    /// 100 000 clients at once (3.5 MiB). A [`Quota`](super::Quota) will do for a policy.
    pub fn new(policy: impl Into<Policy>) -> Self {
        let rules = Rules {
            policies: vec![policy.into()],
            key: key::client(TrustedProxies::none()),
            cost: None,
            missing: MissingKey::Share,
            exempt: None,
            fields: Fields::draft(),
            settle: None,
            patience: None,
            shadow: false,
            refuse_when_unavailable: false,
            on_refusal: None,
            observe: None,
        };
        Self { limiter: Arc::new(Limiter::new(rules, Memory::new())) }
    }
}

impl<T: Throttle + Clone> RateLimitLayer<T> {
    /// Keeps the buckets in `store`, which several layers may share: policies of one name are one. Only the lines of those who
    /// [wait](Self::wait_up_to) are each layer's own.
    ///
    /// Who keeps a handle can ask how somebody stands:
    ///
    /// ```
    /// use bartizan::rate_limit::{Charge, Key, Memory, PolicyName, Quota, RateLimitLayer, Throttle, Unavailable, Verdict};
    ///
    /// const PER_CLIENT: Quota = Quota::per_second(10).burst(20);
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Unavailable> {
    /// let store = Memory::new();
    /// let layer = RateLimitLayer::new(PER_CLIENT).store(store.clone());
    ///
    /// let (policy, key) = (PolicyName::new("default"), Key::ip([192, 0, 2, 1].into()));
    /// let peeked = store.peek(&[Charge { policy: &policy, key: &key, quota: PER_CLIENT, cost: 1 }]).await?;
    /// assert_eq!(peeked.verdict(), Verdict::Admitted); // it would be: nothing has been taken
    /// assert_eq!(peeked.standings()[0].available(), 20);
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn store<U: Throttle + Clone>(self, store: U) -> RateLimitLayer<U> {
        RateLimitLayer { limiter: Arc::new(Limiter::new(self.limiter.rules.clone(), store)) }
    }

    /// Adds a policy. A request passes if all admit it, and is charged by all or by none.
    ///
    /// # Panics
    /// If there is a policy of this name already.
    #[must_use]
    pub fn and(self, policy: impl Into<Policy>) -> Self {
        let policy = policy.into();
        let is_new = self.limiter.rules.policies.iter().all(|other| other.name != policy.name);
        assert!(
            is_new,
            "two policies of one limiter are named {:?}: give the second another name",
            policy.name.as_str()
        );
        self.with(|rules| rules.policies.push(policy))
    }

    /// Whose bucket a request takes from: one of [`key`], or a function `Fn(&Parts) -> Option<Key>`, for which requests
    /// lend their heads. By default the peer's, without believing any forwarding field.
    #[must_use]
    pub fn key_by(self, key: impl Into<KeyBy>) -> Self {
        self.with(|rules| rules.key = key.into())
    }

    /// How much a request takes; 1 by default. What costs more than a burst is refused with 403, as it can never pass.
    /// Nothing (0) always passes; but where it is [settled](Self::settle_by), a request takes at least 1 until then.
    #[must_use]
    pub fn cost_by(self, cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.cost = Some(Arc::new(cost)))
    }

    /// What a request really cost, told when the response's body has ended or the client is gone. What was charged too
    /// much is given back, as far as it has not been replenished meanwhile; what was charged too little is owed, and has
    /// to be waited for.
    ///
    /// Of a [`Memory`], keys that share a set (see there) can make each other's refunds smaller, never larger.
    ///
    /// In between, the request counts with what it was charged at first, which is at least 1: requests at once get past the
    /// quota by no more than what they were charged too little. It holds for the policies that neither settle nor charge by a
    /// function of their own. The response's head is cloned for the function to look at.
    #[must_use]
    pub fn settle_by(self, settle: impl Fn(&Outcome<'_>) -> u32 + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.settle = Some(Arc::new(settle)))
    }

    /// Lets requests without a key pass uncharged by the policies that lack it. By default they share one bucket.
    #[must_use]
    pub fn skip_missing_key(self) -> Self {
        self.with(|rules| rules.missing = MissingKey::Skip)
    }

    /// Refuses requests without a key with 400. By default they share one bucket.
    #[must_use]
    pub fn refuse_missing_key(self) -> Self {
        self.with(|rules| rules.missing = MissingKey::Refuse)
    }

    /// Lets the requests for which this is true pass uncharged: health checks, preflights, the monitoring's network. Said
    /// several times, those for which any of them is.
    #[must_use]
    pub fn exempt(self, exempt: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| {
            rules.exempt = Some(match rules.exempt.take() {
                Some(others) => Arc::new(move |head| others(head) || exempt(head)),
                None => Arc::new(exempt),
            });
        })
    }

    /// Lets a request wait for its turn, at most `longest` and not past its [`Deadline`](crate::Deadline), instead of refusing it.
    ///
    /// Those who wait for the same bucket pass in the order in which they came; nobody who comes later overtakes them.
    /// Who gets to the front and is then kept back by another bucket goes to the end of that one's line. A line is one
    /// layer's: of two layers that share a [`store`](Self::store), who comes through one may overtake those who wait in the
    /// other.
    ///
    /// `queue` is how many may wait for one bucket; further ones are refused. Their `Retry-After` tells when the bucket would
    /// have let them pass, and does not count the line. Who stands in it is refused at the latest when its own time is up, or
    /// at the front, if the bucket would have it wait longer; however long the line, as those in front may leave. What is given
    /// back meanwhile wakes nobody earlier.
    ///
    /// Who waits keeps nothing of the service from others: its turn has come, and is charged, before the service is asked
    /// whether it is ready. For that it waits as any call does, and no time of ours ends it: a timeout further out does. If
    /// the service fails meanwhile, it is the call's error. As of any call that fails or is given up, what was charged
    /// stays, unless [`settle_by`](Self::settle_by) says otherwise.
    #[must_use]
    pub fn wait_up_to(self, longest: Duration, queue: usize) -> Self {
        self.with(|rules| rules.patience = Some(Patience { longest, queue }))
    }

    /// Which fields tell clients how they stand, and when. See [`Fields`].
    #[must_use]
    pub fn fields(self, fields: Fields) -> Self {
        self.with(|rules| rules.fields = fields)
    }

    /// Decides and counts, but refuses nobody: an [`Event`] tells who would have been. To try a quota on real traffic.
    #[must_use]
    pub fn shadow(self) -> Self {
        self.with(|rules| rules.shadow = true)
    }

    /// Answers 503 while the store is unavailable. By default requests are admitted then.
    #[must_use]
    pub fn refuse_when_unavailable(self) -> Self {
        self.with(|rules| rules.refuse_when_unavailable = true)
    }

    /// Replaces what a refused client gets. `Retry-After`, if yours has none, and the fields are still added.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Refused, &Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.on_refusal = Some(OnRefusal::new(answer)))
    }

    /// Tells `observe` what the limiter does. Called in the middle of the request: be quick.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.observe = Some(Arc::new(observe)))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        Arc::make_mut(&mut self.limiter).change(change);
        self
    }
}

impl<S, T> Layer<S> for RateLimitLayer<T> {
    type Service = RateLimit<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit { inner, limiter: Arc::clone(&self.limiter) }
    }
}

impl<T> fmt::Debug for RateLimitLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("policies", &self.limiter.rules.policies).finish_non_exhaustive()
    }
}

// ===== impl RateLimit =====

impl<S, T, B, R> Service<Request<B>> for RateLimit<S, T>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    T: Throttle + Clone,
    R: Body,
{
    type Response = Response<LimitedBody<R, T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, T, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.limiter.take(&request) {
            Some(Ok(())) => ResponseFuture::calling(self.inner.call(request)),
            Some(Err(standing)) => self.refuse(&standing, &mut request),
            None => self.call_otherwise(request),
        }
    }
}

impl<S, T> RateLimit<S, T> {
    /// Who has to wait. Apart from what most come to, which so is short enough to be inlined.
    #[inline(never)]
    fn refuse<B>(&self, standing: &Standing, request: &mut Request<B>) -> ResponseFuture<S, T, B>
    where
        S: Service<Request<B>>,
        T: Throttle + Clone,
    {
        ResponseFuture::refused(self.limiter.limit(standing, request))
    }

    /// Who has to be looked at closely. A request that is lent for that is copied once more on its way.
    #[inline]
    fn call_otherwise<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S, T, B>
    where
        S: Service<Request<B>> + Clone,
        T: Throttle + Clone,
    {
        let asked = if self.limiter.shape.wants_heads {
            with_head(&mut request, |head| self.limiter.ask(&Head::from(&*head)))
        } else {
            self.limiter.ask(&Head::from(&request))
        };
        match asked {
            Asked::Judged(Judged::Pass) => ResponseFuture::calling(self.inner.call(request)),
            Asked::Judged(Judged::Charge(mut charged)) => {
                charged.request(&request);
                ResponseFuture::charging(self.inner.call(request), charged)
            }
            Asked::Judged(Judged::Limit(standing)) => self.refuse(&standing, &mut request),
            Asked::Judged(Judged::Refuse(refused, told)) => {
                ResponseFuture::refused(self.limiter.respond(&refused, told, &mut request))
            }
            Asked::Pending(pending) => {
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                ResponseFuture::undecided(pending, ready, request, Arc::clone(&self.limiter))
            }
        }
    }
}
