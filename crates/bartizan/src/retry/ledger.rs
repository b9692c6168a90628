//! How many retries a share of the traffic pays for, over a window that slides.

use crate::shared::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many slots a window has.
pub(super) const SLOTS: u64 = 10;
/// How many starts are remembered: more than a window has, so that nobody reads the one that is being written.
const REMEMBERED: usize = 16;
/// A share is counted in millionths of a retry, so that any ratio is exact.
const WHOLE: u64 = 1_000_000;

/// What is granted: so many millionths of a retry for each request of the window, and so many retries for nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) millionths: u32,
    pub(super) reserve: u32,
}

/// Requests and retries, counted over a window of ten slots that slides by one slot.
///
/// Both counts stand in one word, requests in the upper half and retries in the lower, and only ever grow; what they
/// were when a slot began is remembered. So what happened in a window is a difference, and a withdrawal is one exchange
/// of that word: two that race for the last retry cannot both get it.
#[derive(Debug)]
pub(super) struct Ledger {
    grant: Grant,
    totals: AtomicU64,
    /// The slot that began last.
    slot: AtomicU64,
    starts: [AtomicU64; REMEMBERED],
    turning: AtomicBool,
}

// ===== impl Grant =====

impl Grant {
    pub(super) const fn new(share: f64, reserve: u32) -> Self {
        assert!(share >= 0.0 && share <= 1.0, "a share is a number from 0 to 1");
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a million, as was asserted"
        )]
        let millionths = (share * WHOLE as f64 + 0.5) as u32;
        Self { millionths, reserve }
    }

    /// Whether one retry more is granted, where there were so many requests and retries.
    pub(super) fn allows(self, requests: u32, retries: u32) -> bool {
        let granted = u64::from(requests) * u64::from(self.millionths) + u64::from(self.reserve) * WHOLE;
        (u64::from(retries) + 1) * WHOLE <= granted
    }
}

// ===== impl Ledger =====

impl Ledger {
    pub(super) fn new(grant: Grant) -> Self {
        Self {
            grant,
            totals: AtomicU64::new(0),
            slot: AtomicU64::new(0),
            starts: std::array::from_fn(|_| AtomicU64::new(0)),
            turning: AtomicBool::new(false),
        }
    }

    pub(super) fn grant(&self) -> Grant {
        self.grant
    }

    /// Counts a request in this slot.
    #[inline]
    pub(super) fn deposit(&self, slot: u64) {
        self.turn_to(slot);
        // The upper half: what overflows falls off.
        self.totals.fetch_add(1 << 32, Ordering::AcqRel);
    }

    /// Counts a retry in this slot, if it is granted; tells in which, as the next one may have begun.
    pub(super) fn withdraw(&self, slot: u64) -> Option<u64> {
        self.turn_to(slot);
        loop {
            let now = self.slot.load(Ordering::Acquire);
            let totals = self.totals.load(Ordering::Acquire);
            let start = self.start_of((now + 1).saturating_sub(SLOTS)).load(Ordering::Acquire);
            if self.slot.load(Ordering::Acquire) != now {
                continue; // a new slot has begun meanwhile
            }
            let (requests, retries) = between(start, totals);
            if !self.grant.allows(requests, retries) {
                return None;
            }
            if self.exchange(totals, 1) {
                return Some(now);
            }
        }
    }

    /// Takes back a withdrawal that was counted in this slot: nothing was sent for it.
    ///
    /// What began since then remembers it, and forgets it first, so that meanwhile it counts twice rather than never. If
    /// somebody is at the slots just now, it stays counted until it leaves the window.
    pub(super) fn refund(&self, counted: u64) {
        if !self.takes_turn() {
            return;
        }
        let now = self.slot.load(Ordering::Acquire);
        if now < counted + SLOTS {
            for begun in counted + 1..=now {
                let start = self.start_of(begun);
                start.store(plus(start.load(Ordering::Acquire), u32::MAX), Ordering::Release);
            }
            while !self.exchange(self.totals.load(Ordering::Acquire), u32::MAX) {}
        }
        self.turning.store(false, Ordering::Release);
    }

    /// Adds to the retries.
    fn exchange(&self, totals: u64, retries: u32) -> bool {
        let after = plus(totals, retries);
        self.totals.compare_exchange(totals, after, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Begins the slots up to this one. Whoever finds another at it goes on in the slot before: nobody waits, and what
    /// happens at that very moment may count as a slot older than it is.
    #[inline]
    fn turn_to(&self, slot: u64) {
        if self.slot.load(Ordering::Acquire) < slot && self.takes_turn() {
            self.turn(slot);
            self.turning.store(false, Ordering::Release);
        }
    }

    /// Whether nobody else is at the slots. Who finds somebody there writes nothing: the end of that turn must stay.
    fn takes_turn(&self) -> bool {
        self.turning.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    #[cold]
    fn turn(&self, slot: u64) {
        let last = self.slot.load(Ordering::Acquire);
        if last >= slot {
            return;
        }
        // Nothing has happened since the slot that began last: all of the new ones start with the same. Each is told of
        // as it begins: a start that comes later takes the place of one where the window begins for who is still behind.
        let totals = self.totals.load(Ordering::Acquire);
        for begun in (last + 1).max((slot + 1).saturating_sub(REMEMBERED as u64))..=slot {
            self.start_of(begun).store(totals, Ordering::Release);
            self.slot.store(begun, Ordering::Release);
        }
    }

    fn start_of(&self, slot: u64) -> &AtomicU64 {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is below 16")]
        let at = (slot % REMEMBERED as u64) as usize;
        &self.starts[at]
    }
}

/// Adds to the lower half, which wraps around for itself.
fn plus(word: u64, retries: u32) -> u64 {
    let (requests, before) = halves(word);
    u64::from(requests) << 32 | u64::from(before.wrapping_add(retries))
}

/// What happened since `start`; never a credit.
fn between(start: u64, totals: u64) -> (u32, u32) {
    let ((requests_then, retries_then), (requests, retries)) = (halves(start), halves(totals));
    let retries = retries.wrapping_sub(retries_then).cast_signed().max(0).cast_unsigned();
    (requests.wrapping_sub(requests_then), retries)
}

/// The upper half, and the lower.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
pub(super) fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}
