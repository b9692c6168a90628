//! What a cache has done.

use std::{
    cell::Cell,
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    thread,
};

/// What a [`ResponseCache`](super::ResponseCache) has done since it was made, and what it holds. Plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests that were answered with what was stored and fresh.
    pub hits: u64,
    /// Requests that went to the origin, because nothing was stored that could answer them.
    pub misses: u64,
    /// Requests that were answered with what was stored and stale.
    pub stale: u64,
    /// Requests that were answered with what was stored after the origin had said that it still holds.
    pub revalidated: u64,
    /// Requests that were answered with what another request brought at the same time.
    pub collapsed: u64,
    /// Requests that had nothing to do with the cache.
    pub bypassed: u64,
    /// Requests that were answered 504, since they said `only-if-cached` and nothing was stored that could answer them.
    pub only_if_cached: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Responses that were to be stored and were not: too large, purged while they came, or overtaken by a later one.
    pub refused: u64,
    /// Keys that expired or made room for others.
    pub evicted: u64,
    /// Keys that were purged or invalidated.
    pub purged: u64,
    /// What is held, in bytes.
    pub bytes: u64,
    /// How many keys there are.
    pub entries: u64,
}

/// What can happen to a request or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Hit,
    Miss,
    Stale,
    Revalidated,
    Collapsed,
    Bypassed,
    OnlyIfCached,
    Stored,
    Refused,
    /// A key that is new.
    Added,
    /// A key that was taken away on purpose.
    Purged,
}

/// Threads share so many lanes, so that they don't wait for each other's cache lines.
pub(super) struct Counters(Box<[Lane]>);

#[derive(Default)]
#[repr(align(128))]
struct Lane([AtomicU64; Count::Purged as usize + 1]);

// ===== impl Counters =====

impl Counters {
    pub(super) fn new() -> Self {
        Self((0..lanes()).map(|_| Lane::default()).collect())
    }

    #[inline]
    pub(super) fn count(&self, what: Count) {
        self.add(what, 1);
    }

    #[inline]
    pub(super) fn add(&self, what: Count, number: u64) {
        self.0[lane() & (self.0.len() - 1)].0[what as usize].fetch_add(number, Relaxed);
    }

    pub(super) fn read(&self, bytes: u64, entries: u64) -> Statistics {
        let sum = |what: Count| self.0.iter().map(|lane| lane.0[what as usize].load(Relaxed)).sum::<u64>();
        let purged = sum(Count::Purged);
        Statistics {
            hits: sum(Count::Hit),
            misses: sum(Count::Miss),
            stale: sum(Count::Stale),
            revalidated: sum(Count::Revalidated),
            collapsed: sum(Count::Collapsed),
            bypassed: sum(Count::Bypassed),
            only_if_cached: sum(Count::OnlyIfCached),
            stored: sum(Count::Stored),
            refused: sum(Count::Refused),
            evicted: sum(Count::Added).saturating_sub(purged).saturating_sub(entries),
            purged,
            bytes,
            entries,
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counters").field(&self.read(0, 0)).finish()
    }
}

/// How many lanes there are: a power of two.
pub(super) fn lanes() -> usize {
    thread::available_parallelism().map_or(1, usize::from).next_power_of_two().min(64)
}

/// The lane of this thread: threads take lanes in turn.
#[inline]
pub(super) fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LANE: Cell<usize> = const { Cell::new(usize::MAX) });
    LANE.with(|lane| match lane.get() {
        usize::MAX => {
            let next = NEXT.fetch_add(1, Relaxed) & 0xffff;
            lane.set(next);
            next
        }
        lane => lane,
    })
}
