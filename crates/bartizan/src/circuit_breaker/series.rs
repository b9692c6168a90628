//! How many calls have failed one after the other.

use crate::shared::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

/// The number of failures since the last success, below the epoch that it belongs to.
#[derive(Debug)]
pub(super) struct Series(AtomicU64);

// ===== impl Series =====

impl Series {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn length(&self, epoch: u32) -> u32 {
        match halves(self.0.load(Acquire)) {
            (of, length) if of == epoch => length,
            _ => 0,
        }
    }

    /// A success. Most often there is nothing to end, and nothing is written.
    #[inline]
    pub(super) fn end(&self, epoch: u32) -> u32 {
        let mut seen = self.0.load(Acquire);
        while halves(seen).0 == epoch && halves(seen).1 > 0 {
            match self.0.compare_exchange_weak(seen, join(epoch, 0), AcqRel, Acquire) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
        0
    }

    /// A failure. Tells how many there are with it; none, if it is of an epoch that is over.
    pub(super) fn lengthen(&self, epoch: u32) -> u32 {
        let mut seen = self.0.load(Acquire);
        loop {
            let length = match halves(seen) {
                (of, length) if of == epoch => length.saturating_add(1),
                (of, _) if (1..1 << 31).contains(&of.wrapping_sub(epoch)) => return 0,
                _ => 1,
            };
            match self.0.compare_exchange_weak(seen, join(epoch, length), AcqRel, Acquire) {
                Ok(_) => return length,
                Err(other) => seen = other,
            }
        }
    }

    pub(super) fn restore(&self, epoch: u32, length: u32) {
        self.0.store(join(epoch, length), Release);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "that is what a half is")]
fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn join(epoch: u32, length: u32) -> u64 {
    u64::from(epoch) << 32 | u64::from(length)
}
