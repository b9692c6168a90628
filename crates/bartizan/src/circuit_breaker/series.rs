//! How many calls have failed one after the other.

use crate::shared::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

/// The failures since the last success: `epoch:32 | told_to_wait:2 | failures:30`.
#[derive(Debug)]
pub(super) struct Series(AtomicU64);

/// How long a series is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) failures: u32,
    /// How many of the last ones asked with `Retry-After` to be left alone; more than three are three.
    pub(super) told_to_wait: u32,
}

const FAILURES: u32 = (1 << 30) - 1;

// ===== impl Series =====

impl Series {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn length(&self, epoch: u32) -> Length {
        match halves(self.0.load(Acquire)) {
            (of, length) if of == epoch => Length::from_bits(length),
            _ => Length::default(),
        }
    }

    /// A success. Most often there is nothing to end, and nothing is written.
    #[inline]
    pub(super) fn end(&self, epoch: u32) {
        let mut seen = self.0.load(Acquire);
        while halves(seen).0 == epoch && halves(seen).1 > 0 {
            match self.0.compare_exchange_weak(seen, join(epoch, 0), AcqRel, Acquire) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
    }

    /// A failure. Tells how many there are with it; none, if it is of an epoch that is over.
    pub(super) fn lengthen(&self, epoch: u32, told_to_wait: bool) -> Length {
        let mut seen = self.0.load(Acquire);
        loop {
            let before = match halves(seen) {
                (of, length) if of == epoch => Length::from_bits(length),
                (of, _) if (1..1 << 31).contains(&of.wrapping_sub(epoch)) => return Length::default(),
                _ => Length::default(),
            };
            let length = before.and_one_more(told_to_wait);
            match self.0.compare_exchange_weak(seen, join(epoch, length.bits()), AcqRel, Acquire) {
                Ok(_) => return length,
                Err(other) => seen = other,
            }
        }
    }

    pub(super) fn restore(&self, epoch: u32, failures: u32) {
        let length = Length { failures: failures.min(FAILURES), told_to_wait: 0 };
        self.0.store(join(epoch, length.bits()), Release);
    }
}

// ===== impl Length =====

impl Length {
    fn and_one_more(self, told_to_wait: bool) -> Self {
        let so_often = if told_to_wait { (self.told_to_wait + 1).min(3) } else { 0 };
        Self { failures: (self.failures + 1).min(FAILURES), told_to_wait: so_often }
    }

    fn from_bits(bits: u32) -> Self {
        Self { failures: bits & FAILURES, told_to_wait: bits >> 30 }
    }

    fn bits(self) -> u32 {
        self.told_to_wait << 30 | self.failures
    }
}

#[allow(clippy::cast_possible_truncation, reason = "that is what a half is")]
fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn join(epoch: u32, length: u32) -> u64 {
    u64::from(epoch) << 32 | u64::from(length)
}
