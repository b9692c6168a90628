//! A second tier: what other processes have stored.

use super::{
    form::{self, Kept},
    generations::Ticket,
    key::CacheKey,
    memory::ResponseCache,
    policy::Selecting,
};
use crate::shared::wall_now;
use bartizan_store::{Key, KeyValue, Unavailable};
use bytes::Bytes;
use http::HeaderName;
use parking_lot::Mutex;
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout},
};

/// A store that may be slow and may be down.
pub(super) struct Tier {
    store: Box<dyn Store>,
    health: Mutex<Health>,
    /// The last purge of more than a URL, in milliseconds by the wall, and when that was looked up.
    marker: Mutex<Option<(Instant, u64)>>,
    writers: Arc<Semaphore>,
}

/// What is in the second tier stays as it was.
pub(super) struct Busy;

#[derive(Default)]
struct Health {
    failures: u32,
    paused_until: Option<Instant>,
}

/// [`KeyValue`], whichever.
trait Store: Send + Sync {
    fn get<'a>(&'a self, key: &'a Key) -> Asked<'a, Option<Bytes>>;
    fn set<'a>(&'a self, key: &'a Key, value: Bytes, ttl: Duration) -> Asked<'a, ()>;
    fn remove<'a>(&'a self, key: &'a Key) -> Asked<'a, ()>;
}

type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

const LIMIT: Duration = Duration::from_millis(100);
const FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);
/// So many write at the same time; what others would write is not written.
const WRITERS: usize = 64;
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// For how long it is believed that nobody else has purged.
const BELIEVED: Duration = Duration::from_secs(1);
/// By how much the clocks of two processes may differ.
const SKEW: u64 = 2_000;

// ===== impl ResponseCache =====

impl ResponseCache {
    /// Looks in the second tier for what a request selects. Whether there was something, which is now found here.
    /// `select` tells what the request says in these fields.
    pub(super) async fn fetch(
        &self,
        key: &CacheKey,
        select: impl Fn(&[HeaderName]) -> Option<Selecting> + Send,
    ) -> bool {
        let Some(tier) = self.shared.tier.as_deref().filter(|_| !key.is_extended()) else { return false };
        let ticket = self.ticket();
        let Some(marker) = tier.marker().await else { return false };
        let Some(bytes) = tier.ask(tier.store.get(&name(key))).await.flatten() else { return false };
        let limit = usize::try_from(self.largest()).unwrap_or(usize::MAX);
        let kept = form::read(&bytes, key, limit).unwrap_or_default();
        let mut has_any = false;
        for kept in kept {
            let purged = self.shared.generations.last_purge(key, &kept.slots).max(marker);
            if purged > 0 && kept.asked <= purged.saturating_add(SKEW) {
                continue;
            }
            has_any |= self.promote(key, kept, &select, ticket);
        }
        has_any
    }

    fn promote(
        &self,
        key: &CacheKey,
        kept: Kept,
        select: impl Fn(&[HeaderName]) -> Option<Selecting>,
        ticket: Ticket,
    ) -> bool {
        let now = form::millis(wall_now());
        let keep_for = Duration::from_millis(kept.until.saturating_sub(now));
        let ago = Duration::from_millis(now.saturating_sub(kept.asked));
        let asked = Instant::now().checked_sub(ago);
        let Some(selecting) = select(&kept.varies_on) else { return false };
        let (Some(entry), Some(asked)) = (kept.selected(key, selecting), asked) else { return false };
        !keep_for.is_zero() && self.shared.promote(key, entry, ticket, asked, keep_for).is_ok()
    }

    /// Writes what is stored under a key, when there is time: not if so many write already that it is not worth it.
    pub(super) fn write_behind(&self, key: &CacheKey, ticket: Ticket) -> Result<(), Busy> {
        let Some(tier) = self.shared.tier.as_ref().filter(|_| !key.is_extended()) else { return Ok(()) };
        let turn = Arc::clone(&tier.writers).try_acquire_owned().map_err(|_| Busy)?;
        let (cache, key) = (self.clone(), key.clone());
        self.behind(|tier| async move {
            let _turn = turn;
            let limit = usize::try_from(cache.largest().saturating_mul(2)).unwrap_or(usize::MAX);
            let form = cache.shared.left(&key).and_then(|(resource, left)| {
                form::write(&key, &resource, left, limit).map(|form| (form, left.min(LONGEST)))
            });
            let (name, is_current) = (name(&key), || cache.shared.generations.allows(ticket, &key, &[]));
            if let Some((form, ttl)) = form.filter(|_| is_current()) {
                tier.ask(tier.store.set(&name, form, ttl)).await;
                // Whoever has purged it meanwhile may have removed it before it was there.
                if is_current() {
                    return;
                }
            }
            tier.ask(tier.store.remove(&name)).await;
        });
        Ok(())
    }

    pub(super) fn remove_behind(&self, keys: impl Iterator<Item = CacheKey>) {
        if self.shared.tier.is_none() {
            return;
        }
        let names: Vec<_> = keys.map(|key| name(&key)).collect();
        self.behind(|tier| async move {
            for name in names {
                tier.ask(tier.store.remove(&name)).await;
            }
        });
    }

    /// Makes all of it unusable that was asked for before now.
    pub(super) fn mark_behind(&self) {
        let now = form::millis(wall_now());
        self.behind(|tier| async move {
            *tier.marker.lock() = Some((Instant::now(), now));
            tier.ask(tier.store.set(&marker(), Bytes::copy_from_slice(&now.to_be_bytes()), LONGEST * 2)).await;
        });
    }

    /// Purges have to get there; whatever else there is may be left out.
    fn behind<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Arc<Tier>) -> F) {
        if let (Some(tier), Ok(runtime)) = (&self.shared.tier, Handle::try_current()) {
            runtime.spawn(work(Arc::clone(tier)));
        }
    }
}

// ===== impl Tier =====

impl Tier {
    pub(super) fn new(store: impl KeyValue) -> Self {
        Self {
            store: Box::new(store),
            health: Mutex::default(),
            marker: Mutex::new(None),
            writers: Arc::new(Semaphore::new(WRITERS)),
        }
    }

    /// `None` if nobody could tell.
    async fn marker(&self) -> Option<u64> {
        let known = *self.marker.lock();
        if let Some((_, purged)) = known.filter(|(at, _)| at.elapsed() < BELIEVED) {
            return Some(purged);
        }
        let bytes = self.ask(self.store.get(&marker())).await?;
        let there = bytes.and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u64::from_be_bytes);
        let mut known = self.marker.lock();
        let purged = known.map_or(there, |(_, purged)| there.max(purged));
        *known = Some((Instant::now(), purged));
        Some(purged)
    }

    /// `None` if it fails, takes too long, or has failed too often.
    async fn ask<T>(&self, operation: impl Future<Output = Result<T, Unavailable>>) -> Option<T> {
        if self.health.lock().paused_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let told = timeout(LIMIT, operation).await.ok().and_then(Result::ok);
        let mut health = self.health.lock();
        if told.is_some() {
            *health = Health::default();
        } else {
            health.failures += 1;
            if health.failures >= FAILURES {
                health.paused_until = Some(Instant::now() + PAUSE);
            }
        }
        told
    }
}

impl<T: KeyValue> Store for T {
    fn get<'a>(&'a self, key: &'a Key) -> Asked<'a, Option<Bytes>> {
        Box::pin(KeyValue::get(self, key))
    }

    fn set<'a>(&'a self, key: &'a Key, value: Bytes, ttl: Duration) -> Asked<'a, ()> {
        Box::pin(KeyValue::set(self, key, value, ttl))
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Asked<'a, ()> {
        Box::pin(KeyValue::remove(self, key))
    }
}

/// What it is called there. Long keys are digested; the form has the key itself, and is compared.
fn name(key: &CacheKey) -> Key {
    Key::join([Key::new("cache"), Key::new(key.as_bytes())])
}

fn marker() -> Key {
    Key::join([Key::new("cache-purged")])
}

#[cfg(test)]
pub(super) mod tests;
