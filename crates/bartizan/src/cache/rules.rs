//! What a cache layer knows, and what it finds for a request.

use super::{
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry, Resource},
    event::{Event, Forward, Outcome},
    fill::{Abandoned, Reader, Spawn},
    generations::Standing,
    head::take_out,
    key::CacheKey,
    key_rules::KeyRules,
    memory::ResponseCache,
    policy::{
        self, CachePolicy, Failure, RangeAsk, RequestDirectives, Reuse, Stored, Terms, choose, may_stand_in, reuse,
    },
    query,
    statistics::Count,
    status::Status,
};
use crate::shared::with_head;
use bartizan_store::Key;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body::Body;
use std::{borrow::Cow, future::poll_fn, pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// So long may nothing come of a body that nobody reads.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// One for all clones of a layer.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) cache: ResponseCache,
    pub(super) policy: CachePolicy,
    pub(super) keys: KeyRules,
    pub(super) partition: Option<Arc<PartitionBy>>,
    /// What this cache is called in `Cache-Status`.
    pub(super) name: Option<Arc<str>>,
    /// Whether it says there, too, what a response is stored under.
    pub(super) tells_key: bool,
    /// How long a request waits for the answer to another.
    pub(super) patience: Duration,
    pub(super) abandoned: Abandoned,
    pub(super) spawn: Spawn,
    pub(super) observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
    /// Whether nobody waits for the answer, so that it counts as none.
    pub(super) is_behind: bool,
}

pub(super) type PartitionBy = dyn Fn(&request::Parts) -> Option<Key> + Send + Sync;

/// What is stored for a request.
pub(super) enum Found {
    /// It may be used as it is.
    Usable(Arc<Entry>, Outcome),
    /// The origin has to be asked, and may say that one of these still holds.
    Ask(Forward, Option<Stale>),
}

/// What could not be used without asking the origin.
#[derive(Clone)]
pub(super) struct Stale {
    pub(super) resource: Arc<Resource>,
    /// The response among them that the request selects.
    pub(super) selected: Option<Arc<Entry>>,
    /// When they were there.
    pub(super) purges: u64,
}

// ===== impl Rules =====

impl Rules {
    /// The key of a request; none if nothing that is stored can be told to be for it.
    #[inline]
    pub(super) fn key_of<B>(&self, request: &mut Request<B>, ask: Ask) -> Option<CacheKey> {
        let partition = match &self.partition {
            None => None,
            Some(partition) => Some(with_head(request, |head| partition(head))?),
        };
        let is_forwarded = ask.has(Trait::ForwardedProto);
        let key = CacheKey::of_read(request.uri(), request.headers(), is_forwarded, partition.as_ref(), &self.keys);
        if ask.verb == Verb::Query {
            return query::extend(key?, request.extensions());
        }
        key
    }

    /// What is stored for a request of this kind.
    #[inline]
    pub(super) fn find(&self, key: &CacheKey, ask: Ask, headers: &HeaderMap, now: Instant) -> Found {
        // Counted before we look: what is deleted from here on is not used.
        let purges = self.cache.purges();
        match self.cache.get(key, now) {
            Some(resource) => self.select(&resource, purges, ask, headers, now),
            None => Found::Ask(Forward::UriMiss, None),
        }
    }

    pub(super) fn select(
        &self,
        resource: &Arc<Resource>,
        purges: u64,
        ask: Ask,
        headers: &HeaderMap,
        now: Instant,
    ) -> Found {
        let Some(entry) = self.choose(resource, ask, headers) else {
            let selected = || resource.entries.iter().filter(|entry| entry.matches(headers, &self.policy));
            let forward = if selected().any(|entry| !matches!(entry.content, Content::Head)) {
                Forward::Partial
            } else if selected().next().is_some() {
                // RFC 9211 §2.2: a head alone is no part, and still is nothing that could be used.
                Forward::Miss
            } else {
                Forward::VaryMiss
            };
            return Found::Ask(forward, Some(self.stale(resource, None, purges, ask, headers)));
        };
        let Some(terms) = self.terms(entry) else { return Found::Ask(Forward::UriMiss, None) };
        let outcome = match reuse(&self.policy, &ask.directives, &terms, now) {
            Reuse::Fresh => Outcome::Hit,
            Reuse::Stale => Outcome::Asked,
            Reuse::WhileRevalidate => Outcome::StaleWhileRevalidate,
            Reuse::Validate => {
                let forward = if terms.is_fresh(now) { Forward::Request } else { Forward::Stale };
                return Found::Ask(forward, Some(self.stale(resource, Some(entry), purges, ask, headers)));
            }
        };
        Found::Usable(Arc::clone(entry), outcome)
    }

    /// What the origin is asked about: only what could be the answer when the origin says that it still holds.
    pub(super) fn stale(
        &self,
        resource: &Arc<Resource>,
        selected: Option<&Arc<Entry>>,
        purges: u64,
        ask: Ask,
        headers: &HeaderMap,
    ) -> Stale {
        let is_able = |entry: &&Arc<Entry>| entry.answers(ask, headers) && self.cache.standing(entry) != Standing::Gone;
        let resource = if resource.entries.iter().all(|entry| is_able(&entry)) {
            Arc::clone(resource)
        } else {
            Arc::new(Resource { entries: resource.entries.iter().filter(is_able).cloned().collect() })
        };
        Stale { resource, selected: selected.cloned(), purges }
    }

    /// The terms of an entry after all purges; none if it is gone. Taken back softly, it is as if it had gone stale then.
    #[inline]
    pub(super) fn terms<'a>(&self, entry: &'a Entry) -> Option<Cow<'a, Terms>> {
        match self.cache.standing(entry) {
            Standing::Current => Some(Cow::Borrowed(&entry.terms)),
            Standing::Stale(since) => Some(Cow::Owned(entry.terms.stale_since(since))),
            Standing::Gone => None,
        }
    }

    /// What stands in for an origin that has failed, if it may, and nobody has deleted it meanwhile.
    pub(super) fn stand_in<'a>(
        &self,
        key: &CacheKey,
        stale: &'a Stale,
        directives: &RequestDirectives,
        why: Failure,
    ) -> Option<&'a Arc<Entry>> {
        let entry = stale.selected.as_ref()?;
        if self.cache.is_deleted_since(stale.purges, key, entry) {
            return None;
        }
        let terms = self.terms(entry)?;
        may_stand_in(&self.policy, directives, &terms, Instant::now(), why).then_some(entry)
    }

    /// Of those that a request selects, and that have enough of the body to answer it.
    fn choose<'a>(&self, resource: &'a Resource, ask: Ask, headers: &HeaderMap) -> Option<&'a Arc<Entry>> {
        if let [only] = &*resource.entries
            && only.answers(ask, headers)
            && only.matches(headers, &self.policy)
        {
            return Some(only);
        }
        let able = || resource.entries.iter().filter(|entry| entry.answers(ask, headers));
        let stored = able().map(|entry| entry.as_stored());
        able().nth(choose(stored, headers, self.policy.normalise())?)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if self.is_behind {
            return;
        }
        self.cache.count(match outcome {
            Outcome::Hit => Count::Hit,
            Outcome::StaleWhileRevalidate | Outcome::Asked | Outcome::StaleIfError(_) => Count::Stale,
            Outcome::Revalidated(_) => Count::Revalidated,
            Outcome::Collapsed(_) => Count::Collapsed,
            Outcome::Forwarded(Forward::Bypass | Forward::Method) => Count::Bypassed,
            Outcome::Forwarded(_) => Count::Miss,
            Outcome::Refused => Count::OnlyIfCached,
        });
    }

    /// Whether what has been begun is brought to its end when the client leaves.
    pub(super) fn finishes(&self) -> bool {
        matches!(self.abandoned, Abandoned::Finish)
    }

    /// The origin's response as it is, but for what this cache says of it.
    pub(super) fn hand_over<R>(
        &self,
        mut response: Response<R>,
        outcome: Outcome,
        detail: Option<&'static str>,
    ) -> Response<CacheBody<R>> {
        take_out(response.headers_mut());
        self.tell_of(&mut response, outcome, detail);
        response.map(CacheBody::inner)
    }

    /// Says how an answer came about: in its own head, in the statistics, and to whoever watches.
    pub(super) fn tell_of<R>(&self, response: &mut Response<R>, outcome: Outcome, detail: Option<&'static str>) {
        if let Some(name) = &self.name {
            Status { detail, ..Status::new(outcome) }.add(response.headers_mut(), name);
        }
        self.count(outcome);
        self.tell(Event::Answered(outcome, response.status()));
    }

    /// Reads on for nobody, so that it is stored.
    pub(super) fn finish(self: &Arc<Self>, reader: Reader) {
        if self.finishes() {
            let rules = Arc::clone(self);
            (self.spawn)(Box::pin(async move { rules.read_to_end(reader).await }));
        }
    }

    /// Reads a body as long as it may become one that is stored.
    pub(super) async fn read_to_end(&self, body: impl Body<Data = Bytes>) {
        let (mut body, mut length) = (pin!(body), 0);
        while let Ok(Some(Ok(frame))) = timeout(IDLE, poll_fn(|cx| body.as_mut().poll_frame(cx))).await {
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
            if length > self.cache.largest() {
                return;
            }
        }
    }

    #[inline]
    pub(super) fn tell(&self, event: Event) {
        let is_heard = !(self.is_behind && matches!(event, Event::Answered(..)));
        if let Some(observer) = self.observer.as_ref().filter(|_| is_heard) {
            observer(&event);
        }
    }
}

// ===== impl Entry =====

impl Entry {
    /// What has to be known of it to choose between it and another.
    pub(super) fn as_stored(&self) -> Stored<'_> {
        let asked = self.tags.at.unwrap_or(self.terms.received);
        Stored { selecting: &self.selecting, headers: &self.headers, asked }
    }

    pub(super) fn matches(&self, headers: &HeaderMap, policy: &CachePolicy) -> bool {
        self.selecting.matches(headers, policy.normalise())
    }

    /// Whether what is stored of the body is enough for the answer.
    fn answers(&self, ask: Ask, headers: &HeaderMap) -> bool {
        match &self.content {
            Content::Whole(_) | Content::Filling(_) => true,
            Content::Head => ask.verb == Verb::Head,
            Content::Parts(parts) => {
                ask.verb == Verb::Get
                    && ask.has(Trait::Range)
                    && policy::if_range_holds(headers, &self.headers)
                    && RangeAsk::read(headers).is_some_and(|ranges| parts.resolve(&ranges).is_some())
            }
        }
    }
}
