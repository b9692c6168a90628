//! How many requests are in flight, and how many retries of them.

use super::ledger::{Grant, halves};
use crate::shared::sync::atomic::{AtomicU64, Ordering};

/// Who waits for an answer: requests in the upper half of a word, retries of them in the lower.
#[derive(Debug)]
pub(super) struct Crowd {
    share: Grant,
    at_once: AtomicU64,
}

// ===== impl Crowd =====

impl Crowd {
    const REQUEST: u64 = 1 << 32;

    pub(super) fn new(share: Grant) -> Self {
        Self { share, at_once: AtomicU64::new(0) }
    }

    pub(super) fn share(&self) -> Grant {
        self.share
    }

    /// A request begins to wait. It must [`leave`](Self::leave).
    #[inline]
    pub(super) fn enter(&self) {
        self.at_once.fetch_add(Self::REQUEST, Ordering::AcqRel);
    }

    #[inline]
    pub(super) fn leave(&self) {
        self.at_once.fetch_sub(Self::REQUEST, Ordering::AcqRel);
    }

    /// A retry joins, if there are few enough. It must [`part`](Self::part).
    pub(super) fn join(&self) -> bool {
        let mut seen = self.at_once.load(Ordering::Acquire);
        loop {
            if !self.allows(seen) {
                return false;
            }
            match self.at_once.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
    }

    pub(super) fn part(&self) {
        self.at_once.fetch_sub(1, Ordering::AcqRel);
    }

    /// Either the share of the requests in flight, or the least number, whichever is more.
    fn allows(&self, at_once: u64) -> bool {
        let (requests, retries) = halves(at_once);
        retries < self.share.reserve || Grant { reserve: 0, ..self.share }.allows(requests, retries)
    }

    /// How many requests, and how many retries of them.
    pub(super) fn at_once(&self) -> (u32, u32) {
        halves(self.at_once.load(Ordering::Acquire))
    }
}
