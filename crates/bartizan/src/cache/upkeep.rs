//! What the service asks of its cache, beside putting and getting.

use super::{
    entry::{Entry, Resource},
    flight::Flights,
    generations::Ticket,
    key::CacheKey,
    marks::Marks,
    memory::ResponseCache,
    policy::{Normalise, Selecting, Vary},
    ready::Ready,
    refused::Refused,
    statistics::Count,
};
use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use tokio::time::Instant;

impl ResponseCache {
    /// What is on its way.
    pub(super) fn flights(&self) -> &Flights<Arc<Entry>> {
        &self.shared.flights
    }

    /// Who comes after a purge of a key does not wait with those who came before it.
    pub(super) fn epoch(&self, key: &CacheKey) -> u64 {
        self.shared.generations.epoch(key)
    }

    /// What is not worth waiting for.
    pub(super) fn marks(&self) -> &Marks {
        &self.shared.marks
    }

    #[inline]
    pub(super) fn count(&self, what: Count) {
        self.shared.counters.count(what);
    }

    /// Heads that are sent again and again.
    #[inline]
    pub(super) fn ready(&self) -> &Ready {
        &self.shared.ready
    }

    /// Stores a response for as long as its own terms make it of use.
    pub(super) fn keep(&self, key: &CacheKey, entry: Entry, ticket: Ticket) -> Result<(), Refused> {
        let keep_for = entry.terms.horizon().saturating_duration_since(Instant::now());
        self.put(key, entry, ticket, keep_for)
    }

    /// Whether an entry that was there then has been deleted since.
    pub(super) fn is_deleted_since(&self, purges: u64, key: &CacheKey, entry: &Entry) -> bool {
        self.shared.generations.deletes(purges, key, &entry.tags.slots)
    }

    /// Whether something that is on its way has been purged since the origin was asked for it.
    pub(super) fn is_purged(&self, key: &CacheKey, entry: &Entry) -> bool {
        let ticket = Ticket { purges: entry.tags.asked, at: Instant::now() };
        !self.shared.generations.allows(ticket, key, &entry.tags.slots)
    }

    /// Keeps only those entries of a key.
    pub(super) fn retain(&self, key: &CacheKey, ticket: Ticket, stays: impl Fn(&Arc<Entry>) -> bool) {
        let now = Instant::now();
        let Some(resource) = self.get(key, now) else { return };
        if resource.entries.iter().all(&stays) {
            return;
        }
        let last = resource.entries.iter().filter(|entry| stays(entry)).map(|entry| entry.terms.horizon()).max();
        let keep_for = last.map_or_else(Default::default, |last| last.saturating_duration_since(now));
        self.change(key, ticket, keep_for, |resource| {
            Some(Resource { entries: resource.entries.iter().filter(|entry| stays(entry)).cloned().collect() })
        });
    }

    /// Whether there is no second tier.
    pub(super) fn is_alone(&self) -> bool {
        self.shared.tier.is_none()
    }

    /// What the second tier has for a request.
    pub(super) async fn recall(
        &self,
        key: &CacheKey,
        request: &HeaderMap,
        normalise: Normalise,
    ) -> Option<Arc<Resource>> {
        let select = |names: &[HeaderName]| {
            let vary = if names.is_empty() { Vary::Nothing } else { Vary::Fields(names.into()) };
            Selecting::of(&vary, request, normalise)
        };
        if self.fetch(key, select).await { self.get(key, Instant::now()) } else { None }
    }
}
