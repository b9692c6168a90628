//! Asking the origin, and what follows from its answer.

use super::{
    answer::{Told, answer, note_stale, ttl},
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry, Resource},
    event::{Event, Forward, Outcome},
    fetch::Visit,
    flight::{Flight, Landing},
    generations::Ticket,
    head::{stored_head, take_out},
    key::CacheKey,
    policy::{self, Arrival, Failure, Kept, NotStored, Parts, Selecting, Vary, storable},
    refused::Refused,
    rules::{Rules, Stale},
    status::Status,
    storing::Storing,
    tags::Stamped,
};
use crate::shared::{NoAnswer, Notes, Refusal, wall_now};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, response};
use http_body::Body;
use std::{error::Error, future::poll_fn, sync::Arc, time::SystemTime};
use tokio::time::Instant;
use tower_service::Service;

/// One who asks the origin, for himself or for all who wait for the same.
pub(super) struct Lead<S, B> {
    visit: Box<Visit<S, B>>,
    asked: Box<Asked>,
}

/// What is known of a request when the origin has answered it. It is boxed, since it goes through many hands.
pub(super) struct Asked {
    pub(super) rules: Arc<Rules>,
    pub(super) ask: Ask,
    pub(super) key: Box<CacheKey>,
    pub(super) forward: Forward,
    pub(super) stale: Option<Stale>,
    pub(super) flight: Landed,
    method: Method,
    target: Uri,
    /// As the client sent them; none, if the answer to this method is never stored.
    pub(super) headers: HeaderMap,
    /// `Host`, if that is all of them that is still asked for.
    pub(super) host: Option<HeaderValue>,
    notes: Option<Notes>,
    pub(super) ticket: Ticket,
    /// Whether the origin was asked on condition that it is not what is stored.
    validates: bool,
    /// The parts that are stored, if the origin was asked for what is missing of the whole.
    pub(super) completes: Option<(Arc<Entry>, Parts)>,
    requested: Instant,
}

/// A flight, if there is one, until it has landed.
pub(super) struct Landed(Option<Flight<Arc<Entry>>>);

// ===== impl Lead =====

impl<S, B> Lead<S, B> {
    pub(super) fn new(
        mut visit: Box<Visit<S, B>>,
        key: Box<CacheKey>,
        forward: Forward,
        stale: Option<Stale>,
        flight: Option<Flight<Arc<Entry>>>,
    ) -> Self {
        let Visit { rules, request, ask, .. } = &mut *visit;
        let may_be_stored = rules.policy.stores_answer_to(request.method());
        // What is not in the key must not change what is stored under it.
        if may_be_stored && let Some(target) = rules.keys.target(request.uri()) {
            let mut uri = request.uri().clone().into_parts();
            uri.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(uri) {
                *request.uri_mut() = uri;
            }
        }
        // What is deleted between our looking and our asking is not asked about: it would come back with the answer.
        let ticket = rules.cache.ticket();
        let stale = stale.map(|stale| stale.without(|entry| rules.cache.is_deleted_since(stale.purges, &key, entry)));
        let asked = Box::new(Asked {
            ticket,
            ask: *ask,
            forward,
            stale,
            flight: Landed(flight),
            method: request.method().clone(),
            target: request.uri().clone(),
            headers: if may_be_stored { request.headers().clone() } else { HeaderMap::new() },
            host: if may_be_stored { None } else { request.headers().get(header::HOST).cloned() },
            notes: Notes::of(request.extensions()).cloned(),
            validates: false,
            completes: None,
            requested: ticket.at,
            rules: Arc::clone(rules),
            key,
        });
        Self { visit, asked }
    }

    pub(super) async fn run<R>(self) -> Result<Response<CacheBody<R>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { mut visit, mut asked } = self;
        asked.prepare(visit.request.headers_mut());
        let answered = match poll_fn(|cx| visit.inner.poll_ready(cx)).await {
            Ok(()) => visit.inner.call(visit.request).await,
            Err(error) => Err(error),
        };
        match answered {
            // Rare, and its future would make room in every other.
            Ok(response) if asked.completes.is_some() && is_about_a_range(response.status()) => {
                Ok(Box::pin(asked.complete(response)).await)
            }
            Ok(response) => Ok(asked.receive(response)),
            Err(error) => match asked.stand_in(Failure::Unreachable) {
                Some(stale) => Ok(stale),
                None => {
                    asked.flight.land(Landing::Failed(Failure::Unreachable));
                    Err(error)
                }
            },
        }
    }
}

// ===== impl Asked =====

impl Asked {
    /// Makes of the client's request the one that the cache sends.
    fn prepare(&mut self, headers: &mut HeaderMap) {
        if self.rules.policy.stores_answer_to(&self.method) {
            self.rules.keys.take_out(headers);
        }
        if self.forward == Forward::Method {
            return;
        }
        if self.ask.directives.no_store {
            return;
        }
        let validates = self.stale.as_ref().is_some_and(|stale| !stale.resource.entries.is_empty());
        let is_marked = || self.rules.cache.marks().has(self.key.as_bytes(), self.requested);
        // A whole response can be stored, and answers whatever the client has said of what he has. One that most likely is
        // for him alone would be sent in vain.
        let shows_who_asks = self.ask.has(Trait::Authorization)
            || (self.ask.has(Trait::Cookie) && !self.rules.policy.shares_answers_to_cookies());
        let may_be_stored = || self.ask.verb.gets() && !shows_who_asks && !is_marked();
        if self.ask.has(Trait::Condition) && (validates || may_be_stored()) {
            policy::take_conditions(headers);
        }
        if let Some(stale) = &self.stale {
            self.validates = policy::add_validators(headers, stale.heads());
            self.completes = self.ask_for_the_rest(headers);
        }
    }

    fn receive<R>(mut self: Box<Self>, response: Response<R>) -> Response<CacheBody<R>>
    where
        R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let arrival = self.arrival(wall_now());
        let (status, headers) = (response.status(), response.headers());
        if matches!(self.ask.verb, Verb::Post | Verb::Unsafe) {
            self.invalidate(status, headers);
        }
        let failure = failure(&response);
        if let Some(why) = failure
            && let Some(stale) = self.stand_in(why)
        {
            return stale;
        }
        if status == StatusCode::NOT_MODIFIED && self.validates {
            return self.validated(response, &arrival);
        }
        // What one of our layers has said to one client is not what the origin says to all.
        let kept = match response.extensions().get::<Refusal>().is_some()
            || response.extensions().get::<NoAnswer>().is_some()
        {
            true => Err(NotStored::Status),
            false => self.kept(status, headers, &arrival),
        };
        let (head, body) = response.into_parts();
        let omit = kept.as_ref().map(|kept| kept.omit.to_vec()).unwrap_or_default();
        let entry = kept.and_then(|kept| self.entry(&head, kept, &arrival));
        match entry {
            Ok(entry) if self.ask.verb == Verb::Head => self.store_head(head, body, entry),
            Ok(entry) => self.store(head, body, entry, omit),
            Err(why) => {
                if self.ask.verb == Verb::Head {
                    self.compare_head(&head);
                }
                self.decline(Response::from_parts(head, body), why, failure.is_some(), arrival.received)
            }
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.target
    }

    /// A response whose head comes now.
    pub(super) fn arrival(&self, wall: SystemTime) -> Arrival {
        Arrival { requested: self.requested, received: Instant::now(), wall }
    }

    pub(super) fn kept(&self, status: StatusCode, headers: &HeaderMap, arrival: &Arrival) -> Result<Kept, NotStored> {
        let asked = policy::Asked {
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
            no_store: self.ask.directives.no_store,
        };
        storable(&self.rules.policy, asked, status, headers, || Vary::read(headers), arrival)
    }

    /// The entry that a response makes, as yet without its body.
    pub(super) fn entry(&self, head: &response::Parts, kept: Kept, arrival: &Arrival) -> Result<Entry, NotStored> {
        let normalise = self.rules.policy.normalise();
        let mut tags = Stamped::read(&head.headers, &self.key).ok_or(NotStored::Tags)?;
        (tags.asked, tags.at) = (self.ticket.purges, Some(self.ticket.at));
        Ok(Entry {
            status: head.status,
            headers: stored_head(&head.headers, &kept.omit, arrival.wall).ok_or(NotStored::Connection)?,
            content: Content::Head,
            trailers: None,
            selecting: Selecting::of(&kept.vary, &self.headers, normalise).ok_or(NotStored::VaryAny)?,
            tags,
            terms: kept.terms,
        })
    }

    /// What is stale, in the place of an origin that fails.
    fn stand_in<R>(&mut self, why: Failure) -> Option<Response<CacheBody<R>>> {
        let entry = self.rules.stand_in(&self.key, self.stale.as_ref()?, &self.ask.directives, why)?;
        // If the client wanted more than a fresh one, it may be fresh.
        if self.rules.terms(entry).is_none_or(|terms| !terms.is_fresh(Instant::now())) {
            note_stale(self.notes.as_ref());
        }
        let stale = self.answer(entry, Outcome::StaleIfError(self.forward), Told::of(why));
        self.flight.land(Landing::Failed(why));
        stale
    }

    /// Hands the response over while it is being stored.
    fn store<R>(
        mut self: Box<Self>,
        mut head: response::Parts,
        body: R,
        entry: Entry,
        omit: Vec<HeaderName>,
    ) -> Response<CacheBody<R>>
    where
        R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let now = Instant::now();
        let (cache, marks) = (&self.rules.cache, self.rules.cache.marks());
        let expected = announced(&head.headers).or(body.size_hint().exact());
        if expected.is_some_and(|bytes| bytes > cache.largest()) {
            marks.set(self.key.as_bytes(), now);
            return self.pass(Response::from_parts(head, body), Some("too-large"));
        }
        let is_part = entry.status == StatusCode::PARTIAL_CONTENT;
        // Others can read along only what they could have found stored.
        let shares = !is_part && entry.terms.is_for_many(now);
        if shares {
            marks.clear(self.key.as_bytes());
        } else if !is_part {
            marks.set(self.key.as_bytes(), now);
        }
        let ttl = ttl(entry.terms.lifetime, entry.terms.age(now));
        let storing = Storing::new(&self, &head.headers, entry, omit, self.flight.closer());
        let refused = storing.foreseen();
        let (stored, detail) = (refused.is_none(), refused.map(Refused::as_str));
        let (entry, reader) = storing.start(body, expected);
        self.flight.land(if shares { Landing::Filling(Arc::clone(&entry)) } else { Landing::Unstorable });
        let outcome = Outcome::Forwarded(self.forward);
        // What the client asked under a condition is answered by what has come. That of a request which may change
        // something was the origin's to judge.
        if self.ask.verb.gets()
            && self.ask.has(Trait::Condition)
            && policy::is_not_modified(self.ask.method(), &self.headers, entry.status, &entry.headers, wall_now)
            && let Some(answer) =
                self.answer(&entry, outcome, Told { fwd_status: Some(entry.status), stored, detail, ..Told::default() })
        {
            self.rules.finish(reader);
            return answer;
        }
        take_out(&mut head.headers);
        if let Some(name) = &self.rules.name {
            Status { stored, ttl: Some(ttl), detail, ..Status::new(outcome) }.add(&mut head.headers, name);
        }
        self.rules.count(outcome);
        self.rules.tell(Event::Answered(outcome, head.status));
        Response::from_parts(head, CacheBody::reader(reader))
    }

    fn decline<R>(
        self: Box<Self>,
        response: Response<R>,
        why: NotStored,
        failed: bool,
        now: Instant,
    ) -> Response<CacheBody<R>> {
        if self.forward == Forward::Method {
            return self.pass(response, None);
        }
        // What stands in for an origin that fails says nothing of what it answers when it is well.
        if !failed && self.ask.verb.gets() {
            let (marks, key) = (self.rules.cache.marks(), self.key.as_bytes());
            match why {
                NotStored::Cookie => marks.set_for_cookies(key, now),
                why if why.is_lasting() => marks.set(key, now),
                _ => {}
            }
        }
        self.rules.tell(Event::Declined(why.as_str()));
        self.pass(response, Some(why.as_str()))
    }

    /// The origin's response as it is.
    pub(super) fn pass<R>(
        mut self: Box<Self>,
        response: Response<R>,
        detail: Option<&'static str>,
    ) -> Response<CacheBody<R>> {
        self.flight.land(Landing::Unstorable);
        self.rules.hand_over(response, Outcome::Forwarded(self.forward), detail)
    }

    pub(super) fn answer<R>(&self, entry: &Entry, outcome: Outcome, told: Told) -> Option<Response<CacheBody<R>>> {
        answer(&self.rules, entry, self.ask, &self.headers, Instant::now(), outcome, told)
    }
}

/// Whether an answer is about the range that we have asked for, and not about what the client has.
fn is_about_a_range(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Why a response is none that the origin meant to give.
fn failure<R>(response: &Response<R>) -> Option<Failure> {
    let status = response.status();
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        return Some(match refusal.error_type() {
            "breaker_open" => Failure::Open,
            "timeout" | "deadline" => Failure::TimedOut,
            // It is the client who was refused.
            _ if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => return None,
            _ => Failure::Unreachable,
        });
    }
    if response.extensions().get::<NoAnswer>().is_some() {
        return Some(if status == StatusCode::GATEWAY_TIMEOUT { Failure::TimedOut } else { Failure::Unreachable });
    }
    status.is_server_error().then_some(Failure::Status(status))
}

/// How long the origin says that the body is.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

// ===== impl Landed =====

impl Landed {
    pub(super) fn land(&mut self, landing: Landing<Arc<Entry>>) {
        if let Some(flight) = self.0.take() {
            flight.land(landing);
        }
    }

    pub(super) fn closer(&self) -> Option<super::flight::Closer<Arc<Entry>>> {
        self.0.as_ref().map(Flight::closer)
    }
}

// ===== impl Stale =====

impl Stale {
    fn without(&self, is_gone: impl Fn(&Arc<Entry>) -> bool) -> Self {
        let selected = self.selected.clone().filter(|entry| !is_gone(entry));
        let entries = self.resource.entries.iter().filter(|entry| !is_gone(entry)).cloned().collect();
        Self { resource: Arc::new(Resource { entries }), selected, purges: self.purges }
    }

    fn heads(&self) -> impl Iterator<Item = &HeaderMap> {
        let others = self.resource.entries.iter();
        let selected = self.selected.as_ref();
        let others = others.filter(move |entry| !selected.is_some_and(|selected| Arc::ptr_eq(selected, entry)));
        selected.into_iter().chain(others).map(|entry| &entry.headers)
    }
}
