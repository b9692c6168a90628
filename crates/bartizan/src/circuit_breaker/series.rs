//! How many calls have failed one after the other.
//!
//! A call that ends well ends the series. As a body may take for ever, a good head does so, too, for the time being: what
//! failed at its head before that counts no more. It counts again if what fails next does so in its body, and no more than
//! one good head has come until then: it may be that one's, which has said nothing. What fails in its body counts until a
//! call ends well: it had a good head itself.

use crate::shared::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

/// The failures of an epoch since a call last ended well: `epoch:16 | series:48`.
#[derive(Debug)]
pub(super) struct Series(AtomicU64);

/// How long a series is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) failures: u32,
    /// How many of the last ones asked with `Retry-After` to be left alone; more than three are three.
    pub(super) told_to_wait: u32,
}

/// Where a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    AtHead { told_to_wait: bool },
    InBody,
}

/// What a series is made of: `told_to_wait:2 | good_heads:2 | bodies:22 | heads:22`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parts {
    /// What failed at the head, and ends with a good one.
    heads: u32,
    /// What failed in the body, and what failed at the head and counts for good.
    bodies: u32,
    /// How many good heads have come since; more than two are two.
    good_heads: u32,
    told_to_wait: u32,
}

/// More are as many, in either part.
const MOST: u32 = (1 << 22) - 1;
const BODIES: u32 = 22;
const GOOD_HEADS: u32 = 44;
const TOLD: u32 = 46;
const EPOCH: u32 = 48;
const SERIES: u64 = (1 << EPOCH) - 1;

// ===== impl Series =====

impl Series {
    pub(super) fn new(epoch: u32) -> Self {
        Self(AtomicU64::new(tag(epoch)))
    }

    /// An epoch begins, before anything is counted in it. None is left out.
    pub(super) fn begin(&self, epoch: u32) {
        if !is_of(self.0.load(Acquire), epoch) {
            self.0.store(tag(epoch), Release);
        }
    }

    pub(super) fn length(&self, epoch: u32) -> Length {
        let word = self.0.load(Acquire);
        if is_of(word, epoch) { Parts::from_bits(word).length() } else { Length::default() }
    }

    /// A call has ended well. Most often there is nothing to end, and nothing is written.
    #[inline]
    pub(super) fn end(&self, epoch: u32) {
        if self.0.load(Acquire) & SERIES != 0 {
            self.change(epoch, |_| Parts::default());
        }
    }

    /// A good head has come, which is as quick when there is nothing to end.
    #[inline]
    pub(super) fn answer(&self, epoch: u32) {
        if self.0.load(Acquire) & SERIES != 0 {
            self.change(epoch, Parts::and_a_good_head);
        }
    }

    /// A failure. Tells how many there are with it; none, if it is of an epoch that is over.
    pub(super) fn lengthen(&self, epoch: u32, failed: Failed) -> Length {
        self.change(epoch, |parts| parts.and_one_more(failed))
    }

    pub(super) fn restore(&self, epoch: u32, failures: u32) {
        let parts = Parts { heads: failures.min(MOST), ..Parts::default() };
        self.0.store(tag(epoch) | parts.bits(), Release);
    }

    #[inline(never)]
    fn change(&self, epoch: u32, change: impl Fn(Parts) -> Parts) -> Length {
        let mut seen = self.0.load(Acquire);
        while is_of(seen, epoch) {
            let parts = change(Parts::from_bits(seen));
            let new = tag(epoch) | parts.bits();
            if new == seen {
                return parts.length();
            }
            match self.0.compare_exchange_weak(seen, new, AcqRel, Acquire) {
                Ok(_) => return parts.length(),
                Err(other) => seen = other,
            }
        }
        Length::default()
    }
}

fn tag(epoch: u32) -> u64 {
    u64::from(epoch) << EPOCH
}

/// Epochs come round after 65 536 here, and nobody is late by as many.
fn is_of(word: u64, epoch: u32) -> bool {
    (word ^ tag(epoch)) >> EPOCH == 0
}

// ===== impl Parts =====

impl Parts {
    fn and_one_more(mut self, failed: Failed) -> Self {
        match failed {
            Failed::AtHead { told_to_wait } => {
                if self.good_heads > 0 {
                    (self.heads, self.told_to_wait) = (0, 0);
                }
                self.heads = (self.heads + 1).min(MOST);
                self.told_to_wait = if told_to_wait { (self.told_to_wait + 1).min(3) } else { 0 };
            }
            Failed::InBody => {
                match self.good_heads {
                    0 => {}
                    1 => (self.bodies, self.heads) = (self.bodies + self.heads, 0), // it may be its own
                    _ => self.heads = 0,
                }
                self.bodies = (self.bodies + 1).min(MOST);
                self.told_to_wait = 0;
            }
        }
        Self { good_heads: 0, ..self }
    }

    fn and_a_good_head(self) -> Self {
        let good_heads = if self.heads > 0 { (self.good_heads + 1).min(2) } else { 0 };
        Self { good_heads, ..self }
    }

    fn length(self) -> Length {
        match self.good_heads {
            0 => Length { failures: self.bodies + self.heads, told_to_wait: self.told_to_wait },
            _ => Length { failures: self.bodies, told_to_wait: 0 },
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "each part is cut to its bits")]
    fn from_bits(bits: u64) -> Self {
        Self {
            heads: bits as u32 & MOST,
            bodies: (bits >> BODIES) as u32 & MOST,
            good_heads: (bits >> GOOD_HEADS) as u32 & 3,
            told_to_wait: (bits >> TOLD) as u32 & 3,
        }
    }

    fn bits(self) -> u64 {
        let Self { heads, bodies, good_heads, told_to_wait } = self;
        u64::from(told_to_wait) << TOLD
            | u64::from(good_heads) << GOOD_HEADS
            | u64::from(bodies) << BODIES
            | u64::from(heads)
    }
}
