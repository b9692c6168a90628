//! Asking the origin, and what follows from its answer.

use super::{
    answer::{Told, answer, answer_with},
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry},
    event::{Event, Forward, Outcome},
    fetch::{Visit, ready},
    fill::{Fill, Filled},
    flight::{Flight, Landing},
    key::CacheKey,
    memory::Ticket,
    policy::{self, Arrival, Kept, NotStored, Selecting, Trouble, may_stand_in, storable},
    rules::{Rules, Stale},
    status::Status,
};
use crate::shared::{Refusal, wall_now};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, response};
use http_body::Body;
use std::{error::Error, sync::Arc};
use tokio::time::Instant;
use tower_service::Service;

/// One who asks the origin, for himself or for all who wait for the same.
pub(super) struct Lead<S, B> {
    inner: S,
    request: Request<B>,
    asked: Asked,
}

/// What is known of a request after it has gone to the origin.
struct Asked {
    rules: Arc<Rules>,
    ask: Ask,
    key: CacheKey,
    forward: Forward,
    stale: Option<Stale>,
    flight: Released,
    method: Method,
    /// As the client sent them.
    headers: HeaderMap,
    ticket: Ticket,
    /// Whether the origin was asked on condition that it is not what is stored.
    validates: bool,
    requested: Instant,
}

/// A flight, if there is one: those who wait for it are told how it ended.
pub(super) struct Released(pub(super) Option<Flight<Arc<Entry>>>);

// ===== impl Lead =====

impl<S, B> Lead<S, B> {
    pub(super) fn new(
        visit: Visit<S, B>,
        key: CacheKey,
        forward: Forward,
        stale: Option<Stale>,
        flight: Released,
    ) -> Self {
        let Visit { rules, inner, request, ask, .. } = visit;
        let now = Instant::now();
        let asked = Asked {
            ticket: rules.cache.ticket(),
            ask,
            forward,
            stale,
            flight,
            method: request.method().clone(),
            headers: request.headers().clone(),
            validates: false,
            requested: now,
            rules,
            key,
        };
        Self { inner, request, asked }
    }

    pub(super) async fn run<R>(mut self) -> Result<Response<CacheBody<R>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.asked.prepare(self.request.headers_mut());
        let answered = match ready(&mut self.inner).await {
            Ok(()) => self.inner.call(self.request).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(response) => Ok(self.asked.receive(response)),
            Err(error) => self.asked.stand_in(Trouble::Unreachable, None).ok_or(error),
        }
    }
}

// ===== impl Asked =====

impl Asked {
    /// Makes of the client's request the one that the cache sends.
    fn prepare(&mut self, headers: &mut HeaderMap) {
        for name in self.rules.keys.unkeyed_fields() {
            headers.remove(name);
        }
        if self.ask.directives.no_store {
            return;
        }
        let entries = || self.stale.iter().flat_map(|stale| &stale.resource.entries);
        let is_marked = || self.rules.cache.marks().has(self.key.as_bytes(), self.requested);
        // A whole response can be stored, and answers whatever the client has said of what he has.
        if self.ask.has(Trait::Condition) && (entries().next().is_some() || (self.ask.verb == Verb::Get && !is_marked())) {
            policy::take_conditions(headers);
        }
        self.validates = policy::add_validators(headers, entries().map(|entry| &entry.headers));
        self.requested = Instant::now();
    }

    fn receive<R>(mut self, response: Response<R>) -> Response<CacheBody<R>>
    where
        R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let arrival = Arrival { requested: self.requested, received: Instant::now(), wall: wall_now() };
        let status = response.status();
        if let Some(stale) = self.stand_in(failure(&response), Some(status)) {
            return stale;
        }
        if status == StatusCode::NOT_MODIFIED && self.validates {
            return self.validated(response, &arrival);
        }
        match self.kept(status, response.headers(), &arrival) {
            Ok(kept) if self.ask.verb == Verb::Head => self.store_head(response, kept),
            Ok(kept) if status == StatusCode::PARTIAL_CONTENT => self.store_part(response, kept),
            Ok(kept) => self.store(response, kept),
            Err(why) => self.decline(response, why),
        }
    }

    fn kept(&self, status: StatusCode, headers: &HeaderMap, arrival: &Arrival) -> Result<Kept, NotStored> {
        let asked = policy::Asked { method: &self.method, target: &self.target, headers: &self.headers };
        storable(&self.rules.policy, asked, status, headers, Vary::read(headers), arrival)
    }

    /// What is stale, in the place of an origin that fails.
    fn stand_in<R>(&mut self, why: Failure, status: Option<StatusCode>) -> Option<Response<CacheBody<R>>> {
        let now = Instant::now();
        let entry = self.stale.as_ref()?.selected.as_ref()?;
        if !may_stand_in(&self.rules.policy, &self.ask.directives, &entry.terms, now, why) {
            return None;
        }
        let told = Told { fwd_status: status, ..Told::default() };
        let outcome = Outcome::StaleIfError(self.forward);
        let stale = answer_with(&self.rules, entry, self.ask, &self.headers, now, outcome, told);
        self.flight.land(Landing::Failed);
        Some(stale)
    }

    /// RFC 9111 §4.3.4: the origin says that what is stored still holds.
    fn validated<R>(mut self, response: Response<R>, arrival: &Arrival) -> Response<CacheBody<R>> {
        let Some(stale) = self.stale.take() else { return self.pass(response, None) };
        let fresh = self.freshened(&stale, response.headers(), arrival);
        let selected = fresh.iter().find(|fresh| {
            stale.selected.as_ref().is_none_or(|selected| Arc::ptr_eq(selected, &fresh.was))
        });
        let Some(selected) = selected.or(fresh.first()) else {
            // It holds for nothing that is stored here. If the client has said what he has, it is about that.
            return self.pass(response, Some("unknown-validator"));
        };
        self.keep(&fresh);
        self.flight.land(Landing::Stored);
        let told = Told { fwd_status: Some(StatusCode::NOT_MODIFIED), stored: selected.keep_for.is_some(), ..Told::default() };
        let (now, outcome) = (Instant::now(), Outcome::Revalidated(self.forward));
        answer_with(&self.rules, &selected.now, self.ask, &self.headers, now, outcome, told)
    }

    /// What is stored, with what a 304 says of it.
    fn freshened(&self, stale: &Stale, from_304: &HeaderMap, arrival: &Arrival) -> Vec<Freshened> {
        let entries = &stale.resource.entries;
        let chosen = policy::freshened_by(entries.iter().map(|entry| &entry.headers), from_304);
        let freshen = |index: usize| {
            let was = entries.get(index)?;
            let headers = policy::freshen(&was.headers, from_304);
            let kept = self.kept(was.status, &headers, arrival);
            let (headers, terms, keep_for) = match kept {
                Ok(kept) => {
                    let keep_for = kept.terms.horizon().saturating_duration_since(arrival.received);
                    (policy::stored_fields(&headers, &kept.omit), kept.terms, Some(keep_for))
                }
                Err(_) => (headers, was.terms.clone(), None),
            };
            let tags = was.tags.renewed(&self.rules.cache, &self.key, from_304, self.ticket);
            let now = Entry { headers, terms, tags, ..Entry::clone(was) };
            Some(Freshened { was: Arc::clone(was), now: Arc::new(now), keep_for })
        };
        chosen.into_iter().filter_map(freshen).collect()
    }

    /// Puts what has been freshened in the place of what it was, and takes away what may be kept no longer.
    fn keep(&self, fresh: &[Freshened]) {
        for Freshened { was, now, keep_for } in fresh {
            match keep_for {
                Some(keep_for) => _ = self.rules.cache.put(&self.key, Entry::clone(now), self.ticket, *keep_for),
                None => self.rules.cache.take_away(&self.key, was),
            }
        }
    }

    /// Hands the response over while it is being stored.
    fn store<R>(mut self, response: Response<R>, kept: Kept) -> Response<CacheBody<R>>
    where
        R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let (head, body) = response.into_parts();
        let expected = announced(&head.headers).or(body.size_hint().exact());
        if expected.is_some_and(|bytes| bytes > self.rules.cache.largest()) {
            return self.pass(Response::from_parts(head, body), Some("too-large"));
        }
        let entry = Entry {
            status: head.status,
            headers: policy::stored_fields(&head.headers, &kept.omit),
            content: Content::Whole(Bytes::new()),
            trailers: None,
            selecting: Selecting::of(&kept.vary, &self.headers, self.rules.policy.normalise()),
            tags: Stamped::read(&self.rules.cache, &self.key, &head.headers, self.ticket),
            terms: kept.terms,
        };
        let shares = entry.terms.is_fresh(Instant::now());
        let marks = self.rules.cache.marks();
        if shares { marks.clear(self.key.as_bytes()) } else { marks.set(self.key.as_bytes(), Instant::now()) }
        let flight = self.flight.take();
        let stored = Storing { rules: Arc::clone(&self.rules), key: self.key.clone(), ticket: self.ticket, entry: entry.clone() };
        let limit = self.rules.cache.largest();
        let fill = Fill::new(body, expected, limit, self.rules.abandoned, self.rules.spawn.clone(), move |filled| stored.end(filled));
        let reader = fill.reader();
        let entry = Arc::new(Entry { content: Content::Filling(fill), ..entry });
        if let Some(flight) = flight {
            flight.land(if shares { Landing::Filling(Arc::clone(&entry)) } else { Landing::Unstorable });
        }
        let told = Told { stored: true, fwd_status: None, own: Some(head) };
        let (now, outcome) = (Instant::now(), Outcome::Forwarded(self.forward));
        let response = answer_with(&self.rules, &entry, self.ask, &self.headers, now, outcome, told);
        drop(reader);
        response
    }

    fn decline<R>(mut self, response: Response<R>, why: NotStored) -> Response<CacheBody<R>> {
        if why.is_lasting() {
            self.rules.cache.marks().set(self.key.as_bytes(), Instant::now());
        }
        self.rules.tell(Event::Declined(why.as_str()));
        self.pass(response, Some(why.as_str()))
    }

    /// The origin's response as it is.
    fn pass<R>(mut self, response: Response<R>, detail: Option<&'static str>) -> Response<CacheBody<R>> {
        self.flight.land(Landing::Unstorable);
        pass_on(&self.rules, response, Outcome::Forwarded(self.forward), detail)
    }
}
