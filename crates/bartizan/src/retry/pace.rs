//! How long an attempt takes, learned from those that went well.

use super::backoff::nanos;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A moving average over about eight attempts. Two that end at once may overwrite each other: it is an expectation.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

// ===== impl Pace =====

impl Pace {
    /// What to expect of the next attempt; nothing while none is known.
    pub(super) fn expected(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn learn(&self, took: Duration) {
        let (old, new) = (self.0.load(Ordering::Relaxed), nanos(took));
        let learned = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.0.store(learned, Ordering::Relaxed);
    }
}
