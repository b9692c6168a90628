//! How long to pause before the next attempt, unless the server says it.

use std::time::Duration;

/// How the pauses of many clients are spread, so that they do not all come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything from nothing to the whole pause. The least work in all.
    Full,
    /// From half of the pause to the whole.
    Equal,
    /// From the first pause to three times the last one, or three times the first before there was any.
    Decorrelated,
}

/// Pauses that double, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) base: Duration,
    pub(super) throttled: Duration,
    pub(super) longest: Duration,
    pub(super) jitter: Jitter,
}

// ===== impl Backoff =====

impl Backoff {
    pub(super) const DEFAULT: Self = Self {
        base: Duration::from_millis(50),
        throttled: Duration::from_secs(1),
        longest: Duration::from_secs(20),
        jitter: Jitter::Full,
    };

    /// The pause before the retry of this number, the first being 0, after a pause of `last`. Never longer than the
    /// longest one: that holds after the jitter, which any `dice` decides.
    pub(super) fn pause(&self, retry: u32, throttled: bool, last: Duration, dice: u64) -> Duration {
        let longest = nanos(self.longest);
        let base = nanos(if throttled { self.throttled } else { self.base }).min(longest);
        let whole = if retry < base.leading_zeros() { (base << retry).min(longest) } else { longest };
        let whole = if base == 0 { 0 } else { whole };
        let (least, most) = match self.jitter {
            Jitter::Full => (0, whole),
            Jitter::Equal => (whole - whole / 2, whole),
            Jitter::Decorrelated => (base, nanos(last).max(base).saturating_mul(3).min(longest)),
        };
        Duration::from_nanos(between(least, most, dice))
    }
}

/// One of the numbers from `least` to `most`, all alike.
pub(super) fn between(least: u64, most: u64, dice: u64) -> u64 {
    let numbers = u128::from(most - least) + 1;
    // The product's upper half is below `numbers`, so this fits.
    least + u64::try_from((numbers * u128::from(dice)) >> 64).unwrap_or(most - least)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    // In one word: `as_nanos` computes in two.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
