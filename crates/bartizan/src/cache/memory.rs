//! The memory of a cache.

use super::{
    entry::{Entry, Resource},
    flight::Flights,
    front::{Found, Front},
    generations::{Generations, Standing, Ticket},
    key::CacheKey,
    marks::Marks,
    ready::Ready,
    refused::Refused,
    statistics::{Count, Counters, Statistics},
    tags::Label,
    tier::Tier,
    urls::Urls,
    weight,
};
use bartizan_store::KeyValue;
use moka::sync::Cache;
use parking_lot::{Mutex, MutexGuard};
use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Where responses are stored: in this process, bounded. A handle: clones share it.
///
/// ```
/// use bartizan::cache::ResponseCache;
///
/// let cache = ResponseCache::new(256 * 1024 * 1024); // made once, and kept to look at and to purge
/// assert_eq!(cache.statistics().hits, 0);
/// ```
///
/// When it is full, what is rarely asked for makes room for what is asked for more often: whoever asks for everything
/// once does not drive out what others ask for all the time. What has expired stays until then, or until it is asked for.
///
/// A response of 1 KiB with a head of six fields takes 2.9 KiB. What is counted is within a tenth of what is taken. Purges
/// need 512 KiB more, once there has been one, and each processor some 60 KiB for what is asked for all the time.
#[derive(Clone)]
pub struct ResponseCache {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    map: Map,
    pub(super) front: Front,
    /// Heads that are sent again and again.
    pub(super) ready: Ready,
    /// Who changes what is stored under a key holds one of them, by the key's hash. Who only reads holds none.
    locks: Box<[Mutex<()>]>,
    hasher: foldhash::quality::RandomState,
    pub(super) generations: Generations,
    pub(super) counters: Counters,
    pub(super) tier: Option<Arc<Tier>>,
    pub(super) flights: Flights<Arc<Entry>>,
    pub(super) marks: Marks,
    pub(super) urls: Urls,
    bytes: u64,
    object_limit: u64,
    /// What was put since room was last made.
    unsettled: AtomicU64,
    /// Whether there has been a key with more in it than a URL.
    has_extended: AtomicBool,
}

type Map = Cache<Box<[u8]>, Stored, foldhash::quality::RandomState>;

/// What is stored under a key.
#[derive(Clone)]
struct Stored {
    resource: Arc<Resource>,
    until: Instant,
    weight: u32,
}

/// So many responses are stored under a key.
pub(super) const MOST_ENTRIES: usize = 32;
const LOCKS: usize = 64;
const LARGEST: u64 = 8 * 1024 * 1024;
/// An `Instant` cannot be later than some time, and nothing is stored for longer.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

// ===== impl ResponseCache =====

impl ResponseCache {
    /// An empty cache of at most so many bytes, all counted: keys, heads, bodies, and what it takes to keep them.
    ///
    /// A response is stored if it takes at most a sixteenth of that, and at most 8 MiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self::with(bytes, LARGEST.min(bytes / 16), None)
    }

    /// Responses of at most so many bytes, with their heads, are stored; the others pass.
    ///
    /// Say it before cloning: the cache begins anew.
    #[must_use]
    pub fn object_limit(self, bytes: u64) -> Self {
        Self::with(self.shared.bytes, bytes, self.shared.tier.clone())
    }

    /// What is not here is looked for there, before the origin is asked, and what is stored is stored there, too: in the
    /// background, without what only concerns who asked. So a process that begins finds what another has stored.
    ///
    /// What fails there, or takes longer than 100 ms, is as if nothing were there; after five failures in a row it is left
    /// alone for five seconds.
    ///
    /// A purge of a URL removes it there. Any other purge makes all of it unusable that was asked for before: other
    /// processes notice within a second. What they have in their own memory they keep: to purge that, tell each of them.
    /// A purge that does not get there is not repeated: this process heeds it all the same, others may not.
    ///
    /// Say it before cloning: the cache begins anew.
    #[must_use]
    pub fn second_tier(self, store: impl KeyValue) -> Self {
        Self::with(self.shared.bytes, self.shared.object_limit, Some(Arc::new(Tier::new(store))))
    }

    /// What it has done, and what it holds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let map = &self.shared.map;
        map.run_pending_tasks();
        self.shared.counters.read(map.weighted_size(), map.entry_count())
    }

    /// How large a response may be to be stored, with its head.
    pub(super) fn largest(&self) -> u64 {
        self.shared.object_limit
    }

    /// What is stored under a key.
    #[inline]
    pub(super) fn get(&self, key: &CacheKey, now: Instant) -> Option<Arc<Resource>> {
        let (resource, until) = self.shared.find(key)?;
        if now < until {
            return Some(resource);
        }
        self.shared.expire(key, now);
        None
    }

    /// To be taken before the origin is asked, and shown when there is something to store.
    pub(super) fn ticket(&self) -> Ticket {
        self.shared.generations.ticket()
    }

    /// How many purges there have been.
    #[inline]
    pub(super) fn purges(&self) -> u64 {
        self.shared.generations.purges()
    }

    /// What purges of tags have left of an entry.
    #[inline]
    pub(super) fn standing(&self, entry: &Entry) -> Standing {
        self.shared.generations.standing(entry.tags.asked, &entry.tags.slots)
    }

    /// Stores a response in the place of the one that the same requests select, for as long as it may be of use.
    pub(super) fn put(&self, key: &CacheKey, entry: Entry, ticket: Ticket, keep_for: Duration) -> Result<(), Refused> {
        let stored = self.shared.put(key, entry, ticket, ticket.at, keep_for, false);
        if stored.is_ok() {
            // What is there is older, and may still be used.
            let _ = self.write_behind(key, ticket);
        }
        self.shared.counters.count(if stored.is_ok() { Count::Stored } else { Count::Refused });
        stored
    }

    /// Stores another resource in the place of the one that is there, if `f` makes one of it; without entries, nothing is
    /// stored any more. Entries that are new must not be held by anybody else yet. `false` if nothing is changed: there is
    /// nothing, or `f` makes nothing of it, or it was purged since the origin was asked.
    pub(super) fn change(
        &self,
        key: &CacheKey,
        ticket: Ticket,
        keep_for: Duration,
        f: impl FnOnce(&Resource) -> Option<Resource>,
    ) -> bool {
        let is_changed = self.shared.change(key, ticket, keep_for, f);
        // What is there may be what was taken away.
        if is_changed && self.write_behind(key, ticket).is_err() {
            self.remove_behind(std::iter::once(key.clone()));
        }
        is_changed
    }

    #[cfg(test)]
    /// Forgets what is stored under a key. Whether there was something.
    pub(super) fn remove(&self, key: &CacheKey) -> bool {
        self.remove_behind(std::iter::once(key.clone()));
        let _one = self.shared.lock(key.as_bytes());
        self.shared.remove(key.as_bytes())
    }

    fn with(bytes: u64, object_limit: u64, tier: Option<Arc<Tier>>) -> Self {
        let hasher = foldhash::quality::RandomState::default();
        let map = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, stored: &Stored| stored.weight)
            .build_with_hasher(hasher.clone());
        let object_limit = object_limit.min(bytes).min(u64::from(u32::MAX) / 2);
        Self {
            shared: Arc::new(Shared {
                map,
                front: Front::new(),
                ready: Ready::new(),
                locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
                hasher,
                generations: Generations::new(),
                counters: Counters::new(),
                flights: Flights::new(),
                marks: Marks::new(),
                urls: Urls::new(bytes),
                tier,
                bytes,
                object_limit,
                unsettled: AtomicU64::new(0),
                has_extended: AtomicBool::new(false),
            }),
        }
    }
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache")
            .field("bytes", &self.shared.bytes)
            .field("object_limit", &self.shared.object_limit)
            .field("statistics", &self.statistics())
            .finish()
    }
}

// ===== impl Shared =====

impl Shared {
    /// What is stored under a key, and until when. The map hears of it, unless the key is asked for all the time, or nothing
    /// was ever stored of its URL.
    #[inline]
    fn find(&self, key: &CacheKey) -> Found {
        let turn = match self.front.find(key.as_bytes()) {
            Ok(found) => return found,
            Err(turn) => turn,
        };
        if !self.urls.may_have(key) {
            return None;
        }
        let found = self.map.get(key.as_bytes()).map(|stored| (stored.resource, stored.until));
        self.front.learn(turn, key.as_bytes(), &found);
        found
    }

    /// What another process has stored, which takes no place of what this one has.
    pub(super) fn promote(
        &self,
        key: &CacheKey,
        entry: Entry,
        ticket: Ticket,
        asked: Instant,
        keep_for: Duration,
    ) -> Result<(), Refused> {
        self.put(key, entry, ticket, asked, keep_for, true)
    }

    fn put(
        &self,
        key: &CacheKey,
        mut entry: Entry,
        ticket: Ticket,
        asked: Instant,
        keep_for: Duration,
        only_if_new: bool,
    ) -> Result<(), Refused> {
        if weight::of_entry(&entry) as u64 > self.object_limit {
            return Err(Refused::TooLarge);
        }
        self.stamp(&mut entry, key, ticket, asked);
        if self.urls.add(key) {
            // What was spared the map, which lets in what is asked for more than what makes room for it.
            let _ = self.map.get(key.as_bytes());
        }
        let _one = self.lock(key.as_bytes());
        if !self.generations.allows(ticket, key, &entry.tags.slots) {
            return Err(Refused::Purged);
        }
        let before = self.peek(key.as_bytes());
        let mut entries = Vec::new();
        let others = before.iter().flat_map(|stored| &stored.resource.entries);
        for other in others {
            if self.generations.standing(other.tags.asked, &other.tags.slots) == Standing::Gone {
                continue;
            }
            if other.selecting != entry.selecting {
                entries.push(Arc::clone(other));
            } else if only_if_new || entry.gives_way(other) {
                return Err(Refused::Superseded);
            }
        }
        let place = if only_if_new { None } else { entries.iter().position(|other| !entry.is_older(other)) };
        entries.insert(place.unwrap_or(entries.len()), Arc::new(entry));
        self.insert(key.as_bytes(), entries, keep_for, before.as_ref());
        Ok(())
    }

    fn change(
        &self,
        key: &CacheKey,
        ticket: Ticket,
        keep_for: Duration,
        f: impl FnOnce(&Resource) -> Option<Resource>,
    ) -> bool {
        let _one = self.lock(key.as_bytes());
        let Some(before) = self.peek(key.as_bytes()) else { return false };
        if !self.generations.allows(ticket, key, &[]) {
            return false;
        }
        let Some(mut resource) = f(&before.resource) else { return false };
        // What was there already is shared with the resource before.
        for entry in resource.entries.iter_mut().filter_map(Arc::get_mut) {
            self.stamp(entry, key, ticket, ticket.at);
        }
        resource.entries.retain(|entry| weight::of_entry(entry) as u64 <= self.object_limit);
        self.insert(key.as_bytes(), resource.entries, keep_for, Some(&before));
        true
    }

    /// Lets an entry know when it was asked for, and what it is purged with.
    fn stamp(&self, entry: &mut Entry, key: &CacheKey, ticket: Ticket, asked: Instant) {
        weight::compact(entry);
        (entry.tags.asked, entry.tags.at) = (ticket.purges, Some(asked));
        if key.is_extended() {
            entry.tags.add(Generations::slot_of(&Label::Url(key.resource())));
            self.has_extended.store(true, Relaxed);
        }
    }

    /// The lock of the key is held.
    fn insert(&self, key: &[u8], mut entries: Vec<Arc<Entry>>, keep_for: Duration, before: Option<&Stored>) {
        entries.truncate(MOST_ENTRIES);
        entries.shrink_to_fit();
        let mut resource = Resource { entries };
        while resource.entries.len() > 1 && weight::of_resource(key, &resource) as u64 > self.largest_resource() {
            resource.entries.pop();
        }
        if resource.entries.is_empty() {
            self.remove(key);
            return;
        }
        let until = Instant::now() + keep_for.min(FOREVER);
        let until = match before {
            // Others are kept with it, for as long as they were to be kept.
            Some(before) if resource.entries.len() > 1 => until.max(before.until),
            _ => until,
        };
        let weight = u32::try_from(weight::of_resource(key, &resource)).unwrap_or(u32::MAX);
        if before.is_none() {
            self.counters.count(Count::Added);
        }
        self.map.insert(key.into(), Stored { resource: Arc::new(resource), until, weight });
        self.front.changed(key);
        self.settle(weight);
    }

    /// Whether there was something to replace. The lock of the key is held.
    pub(super) fn replace(&self, key: &[u8], f: impl FnOnce(&Resource) -> Resource) -> bool {
        let Some(before) = self.peek(key) else {
            // The map may have let go of what was found in front of it.
            self.front.changed(key);
            return false;
        };
        let left = before.until.saturating_duration_since(Instant::now());
        self.insert(key, f(&before.resource).entries, left, Some(&before));
        true
    }

    /// Returns when everybody is done who changes something now.
    pub(super) fn wait_for_writers(&self) {
        self.locks.iter().for_each(|lock| drop(lock.lock()));
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Arc<Box<[u8]>>> + '_ {
        self.map.iter().map(|(key, _)| key)
    }

    pub(super) fn has_extended(&self) -> bool {
        self.has_extended.load(Relaxed)
    }

    /// moka makes room some time after something was put. That must not be so late that the bound means nothing.
    fn settle(&self, weight: u32) {
        let unsettled = self.unsettled.fetch_add(weight.into(), Relaxed) + u64::from(weight);
        if unsettled > self.bytes / 64 {
            self.unsettled.store(0, Relaxed);
            self.map.run_pending_tasks();
        }
    }

    /// What has expired goes when somebody asks for it, or when there is need of room. moka could see to it, too, at the
    /// price of 300 instructions more for each hit.
    #[cold]
    fn expire(&self, key: &CacheKey, now: Instant) {
        let key = key.as_bytes();
        let _one = self.lock(key);
        if self.peek(key).is_some_and(|stored| stored.until <= now) {
            self.map.invalidate(key);
        }
    }

    /// The lock of the key is held.
    pub(super) fn remove(&self, key: &[u8]) -> bool {
        let was_there = self.map.remove(key).is_some();
        self.front.changed(key);
        self.counters.add(Count::Purged, was_there.into());
        was_there
    }

    /// What is stored under a key, and for how long yet.
    pub(super) fn left(&self, key: &CacheKey) -> Option<(Arc<Resource>, Duration)> {
        let stored = self.peek(key.as_bytes())?;
        let left = stored.until.saturating_duration_since(Instant::now());
        Some((stored.resource, left))
    }

    /// What is there, without counting that somebody asked for it.
    fn peek(&self, key: &[u8]) -> Option<Stored> {
        self.map.contains_key(key).then(|| self.map.get(key)).flatten()
    }

    fn largest_resource(&self) -> u64 {
        (self.bytes / 4).max(self.object_limit)
    }

    #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.locks[self.hasher.hash_one(key) as usize % LOCKS].lock()
    }
}

#[cfg(test)]
pub(super) mod tests;
