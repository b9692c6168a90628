//! What has happened lately, counted without a lock: for the cost of a few atomic steps, whatever it holds.
//!
//! A count belongs to an epoch of the breaker. What is left of an earlier one is not cleared but outdated: it does not
//! count, and the next that comes along overwrites it. So a count is never lost, and never counts where it does not
//! belong, however threads interleave.

use super::{
    machine::{Nanos, nanos},
    policy::{BreakerPolicy, Span},
};
use crate::shared::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
    fence,
};

/// The calls of the last so many seconds, or the last so many calls.
#[derive(Debug)]
pub(super) enum Window {
    Time {
        slice: Nanos,
        /// One for each group of threads, so that they don't wait for each other's cache lines.
        lanes: Box<[Slices]>,
    },
    Calls(Ring),
}

/// What the window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u64,
    /// In parts of [`WHOLE_FAILURE`], as a soft failure is only a part of one.
    pub(super) failed: u64,
    pub(super) slow: u64,
}

/// One call, as the window counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// 0 is a success, [`WHOLE_FAILURE`] a failure.
    pub(super) failed: u8,
    pub(super) slow: bool,
}

pub(super) const WHOLE_FAILURE: u8 = 100;
pub(super) const SLICES: u32 = 10;

/// The slices of a time window. Of each count, the upper half says of which slice it is: a slice comes round again.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Slices([Slice; SLICES as usize]);

#[derive(Debug, Default)]
struct Slice {
    calls: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
}

/// The last calls, each in its place, and sums that go along.
#[derive(Debug)]
pub(super) struct Ring {
    /// The number of the next call, below the epoch that counts it.
    next: AtomicU64,
    /// What all places hold together, below the epoch. Both sums are signed: what is taken out may be booked sooner
    /// than what was put in.
    sums: AtomicU64,
    places: Box<[AtomicU64]>,
}

// ===== impl Window =====

impl Window {
    /// Threads share so many lanes, a power of two, where the window is one of time.
    pub(super) fn new(policy: &BreakerPolicy, lanes: usize) -> Self {
        match policy.window {
            Span::Time(time) => {
                let slice = (nanos(time) / u64::from(SLICES)).max(1);
                Self::Time { slice, lanes: (0..lanes).map(|_| Slices::default()).collect() }
            }
            Span::Calls(calls) => Self::Calls(Ring::new(calls)),
        }
    }

    pub(super) fn add(&self, epoch: u32, lane: usize, mark: Mark, now: impl FnOnce() -> Nanos) {
        match self {
            Self::Time { slice, lanes } => lanes[lane & (lanes.len() - 1)].add(tick(epoch, now() / slice), mark),
            Self::Calls(ring) => ring.add(epoch, mark),
        }
    }

    /// An epoch begins, before anything is counted in it. None is left out.
    pub(super) fn begin(&self, epoch: u32) {
        if let Self::Calls(ring) = self {
            ring.begin(epoch);
        }
    }

    /// Counts what was counted before, all of it as of now.
    pub(super) fn restore(&self, epoch: u32, tally: Tally, now: Nanos) {
        match self {
            Self::Time { slice, lanes } => lanes[0].restore(tick(epoch, now / slice), tally),
            Self::Calls(ring) => ring.restore(epoch, tally),
        }
    }

    /// What it holds. Of two that add something at once and then look, at least one sees what both have added.
    pub(super) fn tally(&self, epoch: u32, now: Nanos) -> Tally {
        fence(SeqCst);
        match self {
            Self::Time { slice, lanes } => {
                let tick = tick(epoch, now / slice);
                lanes.iter().fold(Tally::default(), |tally, lane| lane.tally(tick, tally))
            }
            Self::Calls(ring) => ring.tally(epoch),
        }
    }
}

/// The number of a slice. A later epoch is as if more time had passed than the window holds.
#[allow(clippy::cast_possible_truncation, reason = "slices are told apart by the difference of their numbers")]
fn tick(epoch: u32, slice: u64) -> u32 {
    (slice as u32).wrapping_add(epoch.wrapping_mul(2 * SLICES))
}

// ===== impl Slices =====

impl Slices {
    fn add(&self, tick: u32, mark: Mark) {
        let slice = &self.0[(tick % SLICES) as usize];
        count(&slice.calls, tick, 1);
        if mark.failed > 0 {
            count(&slice.failed, tick, u32::from(mark.failed));
        }
        if mark.slow {
            count(&slice.slow, tick, 1);
        }
    }

    fn restore(&self, tick: u32, tally: Tally) {
        let slice = &self.0[(tick % SLICES) as usize];
        for (place, n) in [(&slice.calls, tally.calls), (&slice.failed, tally.failed), (&slice.slow, tally.slow)] {
            count(place, tick, u32::try_from(n).unwrap_or(u32::MAX));
        }
    }

    fn tally(&self, tick: u32, mut tally: Tally) -> Tally {
        let of = |count: &AtomicU64| {
            let (counted, n) = halves(count.load(Acquire));
            if tick.wrapping_sub(counted) < SLICES { u64::from(n) } else { 0 }
        };
        for slice in &self.0 {
            tally.calls += of(&slice.calls);
            tally.failed += of(&slice.failed);
            tally.slow += of(&slice.slow);
        }
        tally
    }
}

/// Adds to a count of this slice, or begins it. What comes so late that the place belongs to a later slice is outdated.
#[inline]
fn count(place: &AtomicU64, tick: u32, n: u32) {
    /// So far ahead can another thread be. Whatever seems to be further ahead is from before the numbers came round.
    const AHEAD: u32 = 1 << 24;
    let mut seen = place.load(Relaxed);
    loop {
        let (counted, so_far) = halves(seen);
        let next = match counted.wrapping_sub(tick) {
            0 => so_far.saturating_add(n),
            1..AHEAD => return,
            _ => n,
        };
        match place.compare_exchange_weak(seen, join(tick, next), AcqRel, Relaxed) {
            Ok(_) => return,
            Err(other) => seen = other,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "that is what a half is")]
fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn join(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

// ===== impl Ring =====

/// In all words of a ring, the epoch is in the upper sixteen bits.
const EPOCH: u32 = 48;
const NUMBER: u64 = (1 << EPOCH) - 1;
/// A place holds `epoch:16 | lap:40 | slow:1 | failed:7`.
const LAP: u32 = 8;
const LAP_MASK: u64 = (1 << 40) - 1;
/// The sums are `epoch:16 | failed:24 | slow:24`.
const SUM: u32 = 24;
const SUM_MASK: u64 = (1 << SUM) - 1;
/// After so many epochs, a quarter of those that can be told apart.
const CLEARED_EVERY: u32 = 1 << 14;

impl Ring {
    fn new(calls: u32) -> Self {
        let places = (0..calls).map(|_| AtomicU64::new(0)).collect();
        Self { next: AtomicU64::new(0), sums: AtomicU64::new(0), places }
    }

    /// From time to time all is taken over for the new epoch, before what is left of earlier ones seems to be later.
    fn begin(&self, epoch: u32) {
        let cleared = (u64::from(epoch) & 0xffff) << EPOCH;
        if !epoch.is_multiple_of(CLEARED_EVERY) || self.next.load(Relaxed) >> EPOCH == cleared >> EPOCH {
            return;
        }
        for place in self.places.iter().chain([&self.next, &self.sums]) {
            place.swap(cleared, AcqRel);
        }
    }

    fn add(&self, epoch: u32, mark: Mark) {
        let epoch = u64::from(epoch) & 0xffff;
        let Some(number) = advance(&self.next, epoch, |number| (number + 1) & NUMBER) else { return };
        let size = self.places.len() as u64;
        let place = &self.places[usize::try_from(number % size).unwrap_or_default()];
        let lap = (number / size) & LAP_MASK;
        let new = epoch << EPOCH | lap << LAP | u64::from(mark.slow) << 7 | u64::from(mark.failed);

        let mut seen = place.load(Relaxed);
        let old = loop {
            let ours = seen >> EPOCH == epoch;
            // Somebody has lapped us: what we bring has left the window already.
            let lapped = ours && (1..LAP_MASK / 2).contains(&((seen >> LAP).wrapping_sub(lap) & LAP_MASK));
            if lapped || is_later(seen >> EPOCH, epoch) {
                return;
            }
            match place.compare_exchange_weak(seen, new, AcqRel, Relaxed) {
                Ok(_) if ours => break unmark(seen),
                Ok(_) => break Mark { failed: 0, slow: false },
                Err(other) => seen = other,
            }
        };
        if (old.failed, old.slow) != (mark.failed, mark.slow) {
            advance(&self.sums, epoch, |sums| {
                let failed = (sums >> SUM).wrapping_add(u64::from(mark.failed)).wrapping_sub(u64::from(old.failed));
                let slow = sums.wrapping_add(u64::from(mark.slow)).wrapping_sub(u64::from(old.slow));
                (failed & SUM_MASK) << SUM | slow & SUM_MASK
            });
        }
    }

    fn restore(&self, epoch: u32, mut tally: Tally) {
        for _ in 0..tally.calls.min(self.places.len() as u64) {
            let failed = tally.failed.min(u64::from(WHOLE_FAILURE));
            let slow = tally.slow.min(1);
            self.add(epoch, Mark { failed: u8::try_from(failed).unwrap_or(WHOLE_FAILURE), slow: slow > 0 });
            (tally.failed, tally.slow) = (tally.failed - failed, tally.slow - slow);
        }
    }

    fn tally(&self, epoch: u32) -> Tally {
        let epoch = u64::from(epoch) & 0xffff;
        let of = |word: &AtomicU64| {
            let word = word.load(Acquire);
            if word >> EPOCH == epoch { word & NUMBER } else { 0 }
        };
        let (number, sums) = (of(&self.next), of(&self.sums));
        Tally { calls: number.min(self.places.len() as u64), failed: signed(sums >> SUM), slow: signed(sums) }
    }
}

/// Changes what an epoch has in a word, and begins anew with 0 if it is an earlier one's. Returns what was there; `None`
/// if the word belongs to a later epoch.
fn advance(word: &AtomicU64, epoch: u64, change: impl Fn(u64) -> u64) -> Option<u64> {
    let mut seen = word.load(Relaxed);
    loop {
        let old = match seen >> EPOCH {
            of if of == epoch => seen & NUMBER,
            of if is_later(of, epoch) => return None,
            _ => 0,
        };
        match word.compare_exchange_weak(seen, epoch << EPOCH | change(old), AcqRel, Relaxed) {
            Ok(_) => return Some(old),
            Err(other) => seen = other,
        }
    }
}

/// Whether an epoch is later than another; they come round after 65 536.
fn is_later(this: u64, than: u64) -> bool {
    (1..0x8000).contains(&(this.wrapping_sub(than) & 0xffff))
}

fn unmark(place: u64) -> Mark {
    Mark { failed: u8::try_from(place & 0x7f).unwrap_or_default(), slow: place & 0x80 != 0 }
}

/// A sum, which is below zero only for the moment in which others are still at work.
fn signed(sum: u64) -> u64 {
    let sum = sum & SUM_MASK;
    if sum > SUM_MASK / 2 { 0 } else { sum }
}
