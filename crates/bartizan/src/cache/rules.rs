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
    policy::{self, CachePolicy, RangeAsk, Reuse, Stored, choose, reuse},
    statistics::Count,
    status::Status,
};
use crate::shared::with_head;
use bartizan_store::Key;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body::Body;
use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;

/// One for all clones of a layer.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) cache: ResponseCache,
    pub(super) policy: CachePolicy,
    pub(super) keys: KeyRules,
    pub(super) partition: Option<Arc<PartitionBy>>,
    /// What this cache is called in `Cache-Status`.
    pub(super) name: Option<Arc<str>>,
    /// How long a request waits for the answer to another.
    pub(super) patience: Duration,
    pub(super) abandoned: Abandoned,
    pub(super) spawn: Spawn,
    pub(super) observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
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
        CacheKey::of_read(request.uri(), request.headers(), is_forwarded, partition.as_ref(), &self.keys)
    }

    /// What is stored for a request of this kind.
    #[inline]
    pub(super) fn find(&self, key: &CacheKey, ask: Ask, headers: &HeaderMap, now: Instant) -> Found {
        match self.cache.get(key, now) {
            Some(resource) => self.select(resource, ask, headers, now),
            None => Found::Ask(Forward::UriMiss, None),
        }
    }

    pub(super) fn select(&self, resource: Arc<Resource>, ask: Ask, headers: &HeaderMap, now: Instant) -> Found {
        let Some(entry) = self.choose(&resource, ask, headers) else {
            let forward = match resource.entries.iter().any(|entry| entry.matches(headers, &self.policy)) {
                true => Forward::Partial,
                false => Forward::VaryMiss,
            };
            return Found::Ask(forward, Some(Stale { resource, selected: None }));
        };
        let reuse = match self.cache.standing(entry) {
            Standing::Current => reuse(&self.policy, &ask.directives, &entry.terms, now),
            // Taken back softly: as if it had gone stale then.
            Standing::Stale(since) if entry.serves_stale(now.saturating_duration_since(since)) => {
                Reuse::WhileRevalidate
            }
            Standing::Stale(_) => Reuse::Validate,
            Standing::Gone => return Found::Ask(Forward::UriMiss, None),
        };
        let outcome = match reuse {
            Reuse::Fresh => Outcome::Hit,
            Reuse::Stale => Outcome::Asked,
            Reuse::WhileRevalidate => Outcome::StaleWhileRevalidate,
            Reuse::Validate => {
                let forward = if entry.terms.is_fresh(now) { Forward::Request } else { Forward::Stale };
                let selected = Some(Arc::clone(entry));
                return Found::Ask(forward, Some(Stale { resource, selected }));
            }
        };
        Found::Usable(Arc::clone(entry), outcome)
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
        let stored = able().map(|entry| Stored {
            selecting: &entry.selecting,
            headers: &entry.headers,
            received: entry.terms.received,
        });
        able().nth(choose(stored, headers, self.policy.normalise())?)
    }

    pub(super) fn count(&self, outcome: Outcome) {
        self.cache.count(match outcome {
            Outcome::Hit => Count::Hit,
            Outcome::StaleWhileRevalidate | Outcome::Asked | Outcome::StaleIfError(_) => Count::Stale,
            Outcome::Revalidated(_) => Count::Revalidated,
            Outcome::Collapsed(_) => Count::Collapsed,
            Outcome::Forwarded(Forward::Bypass | Forward::Method) => Count::Bypassed,
            Outcome::Forwarded(_) | Outcome::Refused => Count::Miss,
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
        if let Some(name) = &self.name {
            Status { detail, ..Status::new(outcome) }.add(response.headers_mut(), name);
        }
        self.count(outcome);
        self.tell(Event::Answered(outcome, response.status()));
        response.map(CacheBody::inner)
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
        while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
            if length > self.cache.largest() {
                return;
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

// ===== impl Entry =====

impl Entry {
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

    /// Whether it may be used after it has been stale for so long.
    fn serves_stale(&self, stale_for: Duration) -> bool {
        !self.terms.no_cache && !self.terms.must_revalidate && stale_for < self.terms.stale_while_revalidate
    }
}
