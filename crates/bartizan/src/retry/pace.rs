//! How long an attempt takes, learned from those that have ended.

use super::backoff::nanos;
use std::{
    array,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// How many attempts are remembered. Fewer than half of them may be unusual.
const REMEMBERED: usize = 15;

/// How long the last attempts took, in nanoseconds, and 0 where there was none as yet, or it is forgotten. Two that end
/// at once may overwrite each other: it is an expectation.
#[derive(Debug, Default)]
pub(super) struct Pace {
    took: [AtomicU64; REMEMBERED],
    next: AtomicUsize,
}

// ===== impl Pace =====

impl Pace {
    /// What to expect of the next attempt: what the one in the middle took, of two the shorter; nothing while none is
    /// known. One that took a minute among many changes nothing, where a mean would expect seconds.
    pub(super) fn expected(&self) -> Duration {
        let mut took: [u64; REMEMBERED] = array::from_fn(|at| self.took[at].load(Ordering::Relaxed));
        took.sort_unstable();
        let known = &took[took.partition_point(|took| *took == 0)..];
        Duration::from_nanos(known.get(known.len().saturating_sub(1) / 2).copied().unwrap_or(0))
    }

    /// An attempt that was answered took so long.
    pub(super) fn learn(&self, took: Duration) {
        self.remember(nanos(took).max(1));
    }

    /// One that was answered with a failure did. That says nothing of how long another answer takes; but quicker than
    /// expected, it lets the oldest of those be forgotten: a service that has been slow once need not stay so for ever,
    /// and in an outage there is nothing else to go by.
    pub(super) fn learn_of_failure(&self, took: Duration) {
        if took < self.expected() {
            self.remember(0);
        }
    }

    /// In the place of the oldest.
    fn remember(&self, took: u64) {
        let at = self.next.load(Ordering::Relaxed);
        self.next.store((at + 1) % REMEMBERED, Ordering::Relaxed);
        self.took[at].store(took, Ordering::Relaxed);
    }
}
