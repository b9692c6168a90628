//! A request that could not be answered at once: it waits for the answer to another, or asks the origin itself.

use super::{
    answer::answer,
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::Entry,
    event::{Event, Forward, Outcome},
    flight::{Flight, Joined, Landing, Turn},
    future::Asking,
    key::CacheKey,
    lead::{Lead, Released},
    policy::{Reuse, Failure, may_stand_in, reuse},
    rules::{Found, Rules, Stale},
    status::Status,
};
use crate::shared::{Deadline, Problem};
use http::{Request, Response, StatusCode};
use http_body::Body;
use std::{
    error::Error,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, timeout};
use tower_service::Service;

/// One request on its way past the cache.
pub(super) struct Visit<S, B> {
    pub(super) rules: Arc<Rules>,
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) ask: Ask,
    pub(super) key: Option<CacheKey>,
}

/// The work of one who leads, which is done to its end also if he leaves: others may wait for it.
struct Carried<R, E>
where
    R: Send + 'static,
    E: Send + 'static,
{
    asking: Option<Asking<R, E>>,
    rules: Arc<Rules>,
}

// ===== impl Visit =====

impl<S, B> Visit<S, B> {
    pub(super) fn new(rules: Arc<Rules>, inner: S, request: Request<B>, ask: Ask, key: Option<CacheKey>) -> Self {
        Self { rules, inner, request, ask, key }
    }
}

impl<S, B, R> Visit<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send, Error: Send> + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    /// From what was found, if anything could be, to the answer.
    pub(super) async fn run(mut self, found: Option<Found>) -> Result<Response<CacheBody<R>>, S::Error> {
        let (Some(found), Some(key)) = (found, self.key.take()) else { return self.pass().await };
        let (forward, stale) = match self.look_further(&key, found).await {
            Found::Usable(entry, outcome) => return Ok(self.answer(&entry, outcome)),
            Found::Ask(forward, stale) => (forward, stale),
        };
        // RFC 9111 §5.2.1.7.
        if self.ask.directives.only_if_cached {
            return Ok(self.refuse());
        }
        let now = Instant::now();
        if !self.ask.may_share() || self.rules.patience.is_zero() || self.rules.cache.marks().has(key.as_bytes(), now) {
            return self.lead(key, forward, stale, None).await;
        }
        let flight = match self.rules.cache.flights().join(&self.flight_key(&key, stale.as_ref())) {
            Joined::Leader(flight) => flight,
            Joined::Crowded => return self.lead(key, forward, stale, None).await,
            Joined::Follower(waiter) => {
                let left = Deadline::of(self.request.extensions()).map(Deadline::remaining);
                let patience = left.map_or(self.rules.patience, |left| left.min(self.rules.patience));
                match timeout(patience, waiter).await {
                    Ok(Turn::Leader(flight)) => flight,
                    Ok(Turn::Landed(landing)) => {
                        return match self.after(landing, &key, forward, stale.as_ref()) {
                            Some(response) => Ok(response),
                            // Waits for nobody any more: whoever has waited once goes on at once.
                            None => self.lead(key, forward, stale, None).await,
                        };
                    }
                    Err(_) => return self.lead(key, forward, stale, None).await,
                }
            }
        };
        // What has been stored since we looked was there before the flight began.
        match self.rules.find(&key, self.ask, self.request.headers(), Instant::now()) {
            Found::Usable(entry, outcome) if outcome != Outcome::StaleWhileRevalidate => {
                flight.land(Landing::Stored);
                Ok(self.answer(&entry, outcome))
            }
            _ => self.lead(key, forward, stale, Some(flight)).await,
        }
    }

    /// Looks into the second tier, where the first has nothing.
    async fn look_further(&self, key: &CacheKey, found: Found) -> Found {
        if !matches!(found, Found::Ask(Forward::UriMiss, None)) {
            return found;
        }
        match self.rules.cache.recall(key).await {
            Some(resource) => self.rules.select(resource, self.ask, self.request.headers(), Instant::now()),
            None => found,
        }
    }

    /// Under what others wait for the same: for one of several responses under a key, what selects it belongs to it.
    fn flight_key(&self, key: &CacheKey, stale: Option<&Stale>) -> Vec<u8> {
        let mut bytes = key.as_bytes().to_vec();
        if let Some(entry) = stale.and_then(|stale| stale.resource.entries.first()) {
            let selecting = entry.selecting.of_another(self.request.headers(), self.rules.policy.normalise());
            bytes.extend_from_slice(&selecting.fingerprint().to_le_bytes());
        }
        bytes
    }

    /// The answer to somebody else's request, if it is one to ours.
    fn after(
        &self,
        landing: Landing<Arc<Entry>>,
        key: &CacheKey,
        forward: Forward,
        stale: Option<&Stale>,
    ) -> Option<Response<CacheBody<R>>> {
        let now = Instant::now();
        match landing {
            Landing::Filling(entry) => {
                let selects = entry.selecting.matches(self.request.headers(), self.rules.policy.normalise());
                let fresh = reuse(&self.rules.policy, &self.ask.directives, &entry.terms, now) == Reuse::Fresh;
                (selects && fresh).then(|| self.answer(&entry, Outcome::Collapsed(forward)))
            }
            Landing::Stored => match self.rules.find(key, self.ask, self.request.headers(), now) {
                Found::Usable(entry, _) => Some(self.answer(&entry, Outcome::Collapsed(forward))),
                Found::Ask(..) => None,
            },
            Landing::Failed => {
                let entry = stale?.selected.as_ref()?;
                may_stand_in(&self.rules.policy, &self.ask.directives, &entry.terms, now, Failure::Unreachable)
                    .then(|| self.answer(entry, Outcome::StaleIfError(forward)))
            }
            Landing::Unstorable => None,
        }
    }

    fn answer(&self, entry: &Arc<Entry>, outcome: Outcome) -> Response<CacheBody<R>> {
        answer(&self.rules, entry, self.ask, self.request.headers(), Instant::now(), outcome)
    }

    /// RFC 9111 §5.2.1.7: 504.
    fn refuse(&self) -> Response<CacheBody<R>> {
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT)
            .detail("nothing that could answer is stored, and the request says only-if-cached")
            .member("code", "only_if_cached");
        let mut response = problem.to_response(self.request.headers()).map(CacheBody::stored);
        if let Some(name) = &self.rules.name {
            Status::new(Outcome::Refused).detail("only-if-cached").add(response.headers_mut(), name);
        }
        self.rules.tell(Event::Answered(Outcome::Refused, response.status()));
        response
    }

    /// Asks the origin. With a flight the work is carried to its end, whoever leaves.
    async fn lead(
        self,
        key: CacheKey,
        forward: Forward,
        stale: Option<Stale>,
        flight: Option<Flight<Arc<Entry>>>,
    ) -> Result<Response<CacheBody<R>>, S::Error> {
        let rules = Arc::clone(&self.rules);
        let carried = flight.is_some() && rules.abandoned.finishes();
        let lead = Lead::new(self, key, forward, stale, Released(flight));
        if carried { Carried { asking: Some(Box::pin(lead.run())), rules }.await } else { lead.run().await }
    }

    /// A request that the cache has no part in, but for what it may change.
    async fn pass(self) -> Result<Response<CacheBody<R>>, S::Error> {
        super::pass::pass(self).await
    }
}

/// Refreshes a stale response that has been used, unless somebody does so already.
pub(super) fn behind<S, B, R>(visit: Visit<S, B>, entry: Arc<Entry>)
where
    S: Service<Request<B>, Response = Response<R>, Future: Send, Error: Send> + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let rules = Arc::clone(&visit.rules);
    let Some(key) = visit.key.clone() else { return };
    let Some(resource) = rules.cache.get(&key) else { return };
    let stale = Stale { resource, selected: Some(entry) };
    let Joined::Leader(flight) = rules.cache.flights().join(&visit.flight_key(&key, Some(&stale))) else { return };
    let lead = Lead::new(visit, key, Forward::Stale, Some(stale), Released(Some(flight)));
    rules.spawn.spawn(Box::pin(async move {
        // The body is stored as it is read, and reading it to its end is what is left to do.
        if let Ok(response) = lead.run().await {
            drop(response);
        }
    }));
}

pub(super) async fn ready<S, Q>(service: &mut S) -> Result<(), S::Error>
where
    S: Service<Q>,
{
    poll_fn(|cx| service.poll_ready(cx)).await
}

// ===== impl Carried =====

impl<R: Send + 'static, E: Send + 'static> Future for Carried<R, E> {
    type Output = Result<Response<CacheBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(asking) = &mut self.asking else { unreachable!("it is polled until it is ready, and once") };
        let answer = std::task::ready!(asking.as_mut().poll(cx));
        self.asking = None;
        Poll::Ready(answer)
    }
}

impl<R: Send + 'static, E: Send + 'static> Drop for Carried<R, E> {
    fn drop(&mut self) {
        if let Some(asking) = mem::take(&mut self.asking) {
            self.rules.spawn.spawn(Box::pin(async move { drop(asking.await) }));
        }
    }
}
