//! How many calls there have been, and in which lane a thread counts.

use super::{breaker::Metrics, outcome::Outcome};
use crate::shared::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What has happened since a breaker was made. Threads share so many lanes, so that they don't wait for each other's cache
/// lines.
#[derive(Debug)]
pub(super) struct Totals(Box<[Lane]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    succeeded: AtomicU64,
    failed: AtomicU64,
    soft: AtomicU64,
    ignored: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
}

/// What a lane takes.
#[cfg(all(test, not(bartizan_loom)))]
pub(super) const LANE: usize = size_of::<Lane>() + size_of::<super::window::Slices>();

// ===== impl Totals =====

impl Totals {
    /// The number of lanes is a power of two.
    pub(super) fn new(lanes: usize) -> Self {
        assert!(lanes.is_power_of_two(), "a lane is found by a mask");
        Self((0..lanes).map(|_| Lane::default()).collect())
    }

    #[inline]
    pub(super) fn count(&self, lane: usize, outcome: Outcome, late: bool) {
        let lane = self.lane(lane);
        let total = match outcome {
            Outcome::Success => &lane.succeeded,
            Outcome::Failure => &lane.failed,
            Outcome::SoftFailure(_) => &lane.soft,
            Outcome::Ignored => &lane.ignored,
        };
        total.fetch_add(1, Relaxed);
        if late {
            lane.late.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn count_refused(&self, lane: usize) {
        self.lane(lane).refused.fetch_add(1, Relaxed);
    }

    pub(super) fn metrics(&self) -> Metrics {
        let sum = |of: fn(&Lane) -> &AtomicU64| self.0.iter().map(|lane| of(lane).load(Relaxed)).sum();
        Metrics {
            succeeded: sum(|lane| &lane.succeeded),
            failed: sum(|lane| &lane.failed),
            soft_failed: sum(|lane| &lane.soft),
            ignored: sum(|lane| &lane.ignored),
            late: sum(|lane| &lane.late),
            refused: sum(|lane| &lane.refused),
        }
    }

    fn lane(&self, lane: usize) -> &Lane {
        &self.0[lane & (self.0.len() - 1)]
    }
}

/// The lane of this thread: threads take lanes in turn.
#[inline]
pub(super) fn lane() -> usize {
    use std::{cell::Cell, sync::atomic};
    static NEXT: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
    thread_local!(static LANE: Cell<usize> = const { Cell::new(usize::MAX) });
    // A thread that is ending has none any more.
    LANE.try_with(|lane| match lane.get() {
        usize::MAX => {
            let next = NEXT.fetch_add(1, atomic::Ordering::Relaxed) & 0xffff;
            lane.set(next);
            next
        }
        lane => lane,
    })
    .unwrap_or_default()
}
