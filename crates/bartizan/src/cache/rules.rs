//! What a cache layer knows, and what it finds for a request.

use super::{
    ask::{Ask, Trait, Verb},
    entry::{Content, Entry, Resource},
    event::{Event, Forward, Outcome},
    fill::{Abandoned, Spawn},
    key::{CacheKey, KeyRules},
    memory::ResponseCache,
    policy::{CachePolicy, Reuse, reuse},
    tags::Currency,
};
use bartizan_store::Key;
use http::{HeaderMap, Request, request};
use std::{sync::Arc, time::Duration};
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
    /// The origin has to be asked, and these may be validated with what it says.
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
    pub(super) fn key_of<B>(&self, request: &mut Request<B>) -> Option<CacheKey> {
        let partition = match &self.partition {
            None => None,
            Some(partition) => Some(crate::shared::with_head(request, |head| partition(head))?),
        };
        CacheKey::of(request, partition.as_ref(), &self.keys)
    }

    /// What is stored for a request of this kind.
    pub(super) fn find(&self, key: &CacheKey, ask: Ask, headers: &HeaderMap, now: Instant) -> Found {
        match self.cache.get(key) {
            Some(resource) => self.select(resource, ask, headers, now),
            None => Found::Ask(Forward::UriMiss, None),
        }
    }

    pub(super) fn select(&self, resource: Arc<Resource>, ask: Ask, headers: &HeaderMap, now: Instant) -> Found {
        let normalise = self.policy.normalise();
        let mut reason = Forward::VaryMiss;
        let selected = resource.entries.iter().find(|entry| {
            if !entry.selecting.matches(headers, normalise) {
                return false;
            }
            let answers = entry.answers(ask, headers);
            if !answers {
                reason = Forward::Partial;
            }
            answers
        });
        let Some(entry) = selected else {
            return Found::Ask(reason, Some(Stale { resource, selected: None }));
        };
        let reuse = match self.cache.currency(entry) {
            Currency::Current => reuse(&self.policy, &ask.directives, &entry.terms, now),
            // Taken back softly: as if it had gone stale.
            Currency::Soft if !entry.terms.stale_while_revalidate.is_zero() && !entry.terms.no_cache => Reuse::WhileRevalidate,
            Currency::Soft => Reuse::Validate,
            Currency::Gone => return Found::Ask(Forward::UriMiss, None),
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

    pub(super) fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

impl Entry {
    /// Whether what is stored of the body is enough for the answer.
    fn answers(&self, ask: Ask, headers: &HeaderMap) -> bool {
        match &self.content {
            Content::Whole(_) | Content::Filling(_) => true,
            Content::Head => ask.verb == Verb::Head,
            Content::Parts(parts) => {
                ask.verb == Verb::Get && ask.has(Trait::Range) && parts.answers(headers, &self.headers)
            }
        }
    }
}
