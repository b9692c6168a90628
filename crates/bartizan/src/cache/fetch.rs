//! A request that could not be answered at once: it waits for the answer to another, or asks the origin itself.

use super::{
    answer::{Told, answer, note_stale},
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::Entry,
    event::{Forward, Outcome},
    flight::{Flight, Joined, Landing, Waited},
    future::Asking,
    generations::Standing,
    key::CacheKey,
    lead::Lead,
    policy::{self, Reuse, reuse},
    rules::{Found, Rules, Stale},
};
use crate::shared::{Deadline, Notes, Problem};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use std::{
    error::Error,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tower_service::Service;

/// So long may the origin take for the head of an answer that no client waits for; then somebody else asks.
const UNWATCHED: Duration = Duration::from_secs(60);

/// One request on its way past the cache. It is boxed, as is its key, since it goes through many hands.
pub(super) struct Visit<S, B> {
    pub(super) rules: Arc<Rules>,
    pub(super) inner: S,
    pub(super) request: Request<B>,
    pub(super) ask: Ask,
    pub(super) key: Option<Box<CacheKey>>,
}

/// A request as it looks at what is stored, and at what is on its way. Its body, which may not be shared, is not in it.
struct View<'a> {
    rules: &'a Rules,
    ask: Ask,
    headers: &'a HeaderMap,
    deadline: Option<Deadline>,
    notes: Option<&'a Notes>,
}

/// The work of one who leads, or changes something. It is done to its end also if he leaves, as it concerns others.
struct Carried<R: Send + 'static, E: Send + 'static> {
    asking: Option<Asking<R, E>>,
    rules: Arc<Rules>,
}

// ===== impl Visit =====

impl<S, B, R> Visit<S, B>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send, Error: Send> + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    /// From what was found, if anything could be, to the answer.
    pub(super) async fn run(
        mut self: Box<Self>,
        found: Option<Found>,
        now: Instant,
    ) -> Result<Response<CacheBody<R>>, S::Error> {
        // A `QUERY` asks for content, also where nobody has read what it asks for.
        let is_read = matches!(self.ask.verb, Verb::Get | Verb::Head | Verb::Query) || self.is_unread();
        // RFC 9111 §5.2.1.7: not even where nothing that is stored could answer.
        if self.ask.directives.only_if_cached && is_read && (self.key.is_none() || found.is_none()) {
            return Ok(self.view().refuse());
        }
        let Some(key) = self.key.take() else {
            let detail = self.ask.wants_key().then_some("no-key");
            return self.pass(detail).await;
        };
        // What it changes has to be told of.
        let Some(found) = found else { return self.lead(key, Forward::Method, None, None).await };
        let view = self.view();
        let (forward, stale) = match view.look_further(&key, found).await {
            Found::Ask(forward, stale) => (forward, stale),
            Found::Usable(entry, outcome) => match view.answer(&entry, outcome, Told::default()) {
                Some(answer) => {
                    if outcome == Outcome::StaleWhileRevalidate {
                        behind(self, key, &entry);
                    }
                    return Ok(answer);
                }
                None => (Forward::UriMiss, None),
            },
        };
        // RFC 9111 §5.2.1.7.
        if self.ask.directives.only_if_cached {
            return Ok(view.refuse());
        }
        if is_large(view.headers) {
            return self.pass(Some("large-request")).await;
        }
        let flight = match view.wait(&key, forward, stale.as_ref(), now).await {
            Gone::Answered(response) => return Ok(response),
            Gone::Alone => None,
            Gone::Leads(flight) => {
                // What has been stored since we looked was there before the flight began.
                if let Found::Usable(entry, outcome) = view.find(&key)
                    && outcome == Outcome::Hit
                    && let Some(answer) = view.answer(&entry, outcome, Told::default())
                {
                    flight.land(Landing::Stored);
                    return Ok(answer);
                }
                Some(flight)
            }
        };
        self.lead(key, forward, stale, flight).await
    }

    /// Asks the origin. With a flight the work is carried to its end, whoever leaves; and so is what changes something, as
    /// what it changed must not be answered from here any more (RFC 9111 §4.4).
    async fn lead(
        self: Box<Self>,
        key: Box<CacheKey>,
        forward: Forward,
        stale: Option<Stale>,
        flight: Option<Flight<Arc<Entry>>>,
    ) -> Result<Response<CacheBody<R>>, S::Error> {
        let (rules, is_carried) = (Arc::clone(&self.rules), flight.is_some() || forward == Forward::Method);
        let lead = Lead::new(self, key, forward, stale, flight);
        if is_carried { Carried { asking: Some(Box::pin(lead.run())), rules }.await } else { lead.run().await }
    }

    fn view(&self) -> View<'_> {
        let Self { rules, request, ask, .. } = self;
        let (headers, extensions) = (request.headers(), request.extensions());
        let (deadline, notes) = (Deadline::of(extensions), Notes::of(extensions));
        View { rules, ask: *ask, headers, deadline, notes }
    }

    /// A `QUERY` of which the cache does not know what it asks for.
    fn is_unread(&self) -> bool {
        self.ask.verb == Verb::Safe && *self.request.method() == Method::QUERY
    }

    /// A request that the cache has no part in.
    async fn pass(mut self: Box<Self>, detail: Option<&'static str>) -> Result<Response<CacheBody<R>>, S::Error> {
        let (forward, detail) = match self.ask.verb {
            // RFC 9211 §2.2: its method would allow for it.
            _ if self.is_unread() => (Forward::Bypass, Some("not-read")),
            Verb::Safe => (Forward::Method, detail),
            _ => (Forward::Bypass, detail),
        };
        poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        let response = self.inner.call(self.request).await?;
        Ok(self.rules.hand_over(response, Outcome::Forwarded(forward), detail))
    }
}

// ===== impl View =====

impl View<'_> {
    /// Waits for the answer to another request, if there is one under way that may be ours too.
    async fn wait<R>(&self, key: &CacheKey, forward: Forward, stale: Option<&Stale>, now: Instant) -> Gone<R> {
        let Rules { cache, patience, .. } = self.rules;
        let is_marked = || {
            let (marks, key) = (cache.marks(), key.as_bytes());
            marks.has(key, now) || (self.ask.has(Trait::Cookie) && marks.has_for_cookies(key, now))
        };
        if !self.ask.may_follow() || patience.is_zero() || is_marked() {
            return Gone::Alone;
        }
        let flight_key = self.flight_key(key, stale);
        let joined = if self.ask.may_share() {
            cache.flights().join(&flight_key)
        } else {
            // It brings only a part, and nobody waits for that.
            cache.flights().read_along(&flight_key).map_or(Joined::Alone, Joined::Follower)
        };
        let waiter = match joined {
            Joined::Leader(flight) => return Gone::Leads(flight),
            Joined::Alone => return Gone::Alone,
            Joined::Follower(waiter) => waiter,
        };
        let left = self.deadline.map(Deadline::remaining);
        let landing = match timeout(left.map_or(*patience, |left| left.min(*patience)), waiter).await {
            Ok(Waited::Leads(flight)) => return Gone::Leads(flight),
            Ok(Waited::Landed(landing)) => landing,
            Err(_) => return Gone::Alone,
        };
        // Whoever has waited once goes on at once: nobody queues twice.
        self.after(landing, key, forward, stale).map_or(Gone::Alone, Gone::Answered)
    }

    /// The answer to somebody else's request, if it is one to ours.
    fn after<R>(
        &self,
        landing: Landing<Arc<Entry>>,
        key: &CacheKey,
        forward: Forward,
        stale: Option<&Stale>,
    ) -> Option<Response<CacheBody<R>>> {
        let (policy, directives, now) = (&self.rules.policy, &self.ask.directives, Instant::now());
        let mut told = Told::default();
        let (entry, outcome) = match landing {
            Landing::Filling(entry)
                if entry.matches(self.headers, policy)
                    && self.rules.cache.standing(&entry) == Standing::Current
                    && reuse(policy, directives, &entry.terms, now) != Reuse::Validate =>
            {
                if !entry.terms.is_fresh(now) {
                    note_stale(self.notes);
                }
                (entry, Outcome::Collapsed(forward))
            }
            Landing::Stored => match self.find(key) {
                Found::Usable(entry, _) => (entry, Outcome::Collapsed(forward)),
                Found::Ask(..) => return None,
            },
            Landing::Failed(why) => {
                let entry = self.rules.stand_in(key, stale?, directives, why)?;
                told = Told { collapsed: true, ..Told::of(why) };
                (Arc::clone(entry), Outcome::StaleIfError(forward))
            }
            Landing::Filling(_) | Landing::Unstorable => return None,
        };
        self.answer(&entry, outcome, told)
    }

    fn find(&self, key: &CacheKey) -> Found {
        self.rules.find(key, self.ask, self.headers, Instant::now())
    }

    fn answer<R>(&self, entry: &Entry, outcome: Outcome, told: Told) -> Option<Response<CacheBody<R>>> {
        if outcome.is_stale() {
            note_stale(self.notes);
        }
        answer(self.rules, entry, self.ask, self.headers, Instant::now(), outcome, told)
    }

    /// 504, as RFC 9111 §5.2.1.7 has it.
    fn refuse<R>(&self) -> Response<CacheBody<R>> {
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT)
            .detail("nothing is stored that could answer, and the request says only-if-cached")
            .member("code", "only_if_cached");
        let mut response = problem.to_response(self.headers).map(CacheBody::stored);
        self.rules.tell_of(&mut response, Outcome::Refused, Some("only-if-cached"));
        response
    }

    /// Under what others wait for the same: if there are several responses under a key, what selects ours belongs to it;
    /// and so does the last purge, as what was asked of the origin before it is for nobody who comes after it.
    fn flight_key(&self, key: &CacheKey, stale: Option<&Stale>) -> Vec<u8> {
        let mut bytes = key.as_bytes().to_vec();
        bytes.extend_from_slice(&self.rules.cache.epoch(key).to_le_bytes());
        if let Some(entry) = stale.and_then(|stale| stale.resource.entries.first()) {
            let selecting = entry.selecting.of_another(self.headers, self.rules.policy.normalise());
            bytes.extend_from_slice(&selecting.fingerprint().to_le_bytes());
        }
        bytes
    }

    /// Looks into the second tier, where the first has nothing.
    async fn look_further(&self, key: &CacheKey, found: Found) -> Found {
        if self.rules.cache.is_alone() || !matches!(found, Found::Ask(Forward::UriMiss, None)) {
            return found;
        }
        let purges = self.rules.cache.purges();
        match self.rules.cache.recall(key, self.headers, self.rules.policy.normalise()).await {
            Some(resource) => self.rules.select(&resource, purges, self.ask, self.headers, Instant::now()),
            None => found,
        }
    }
}

/// Whether a service may refuse to read fields of this size: its error would be stored for everybody ("Cache Poisoned Denial
/// of Service", 2019). Servers read 8 KiB at least, and most not much more.
fn is_large(fields: &HeaderMap) -> bool {
    const LARGEST: usize = 8 * 1024;
    /// What a field takes beside its value, about.
    const EACH: usize = 20;
    fields.values().map(|value| EACH + value.len()).sum::<usize>() > LARGEST
}

/// How one went on who might have waited.
enum Gone<R> {
    Answered(Response<CacheBody<R>>),
    Leads(Flight<Arc<Entry>>),
    Alone,
}

/// Refreshes a stale response that has been used, unless somebody does so already.
pub(super) fn behind<S, B, R>(mut visit: Box<Visit<S, B>>, key: Box<CacheKey>, entry: &Arc<Entry>)
where
    S: Service<Request<B>, Response = Response<R>, Future: Send, Error: Send> + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    // RFC 9111 §5.2.1.5: nothing of it is stored, nor of what would be the answer to it. The next one refreshes.
    if visit.ask.directives.no_store {
        return;
    }
    let rules = Arc::new(Rules { is_behind: true, ..Rules::clone(&visit.rules) });
    visit.rules = Arc::clone(&rules);
    // What the one who came wanted of it, he has got. This is for all.
    visit.ask = visit.ask.for_all();
    policy::take_wishes(visit.request.headers_mut());
    visit.request.extensions_mut().remove::<Deadline>();
    Notes::leave(visit.request.extensions_mut());
    let purges = rules.cache.purges();
    let Some(resource) = rules.cache.get(&key, Instant::now()) else { return };
    let stale = rules.stale(&resource, Some(entry), purges, visit.ask, visit.request.headers());
    let Joined::Leader(flight) = rules.cache.flights().join(&visit.view().flight_key(&key, Some(&stale))) else {
        return;
    };
    let lead = Lead::new(visit, key, Forward::Stale, Some(stale), Some(flight));
    let spawn = Arc::clone(&rules.spawn);
    spawn(Box::pin(async move {
        if let Ok(Ok(response)) = timeout(UNWATCHED, lead.run()).await {
            rules.read_to_end(response.into_body()).await;
        }
    }));
}

// ===== impl Carried =====

impl<R: Send + 'static, E: Send + 'static> Future for Carried<R, E> {
    type Output = Result<Response<CacheBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let asking = self.asking.as_mut().expect("it is not polled after it was ready");
        let answer = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        Poll::Ready(answer)
    }
}

impl<R: Send + 'static, E: Send + 'static> Drop for Carried<R, E> {
    fn drop(&mut self) {
        if let Some(asking) = self.asking.take()
            && self.rules.finishes()
        {
            (self.rules.spawn)(Box::pin(async move { drop(timeout(UNWATCHED, asking).await) }));
        }
    }
}
