//! When a breaker opens, for how long, and what closes it again.

use std::time::Duration;

/// When a breaker opens, for how long, and what closes it again: plain data.
///
/// A constructor names one condition, and each `or_…` adds another; whichever is met first opens the breaker. Numbers
/// that make no sense panic, which in a `const` is a compile error:
///
/// ```
/// use bartizan::circuit_breaker::BreakerPolicy;
/// use std::time::Duration;
///
/// const HALF_FAIL: BreakerPolicy = BreakerPolicy::failure_rate(0.5).over(20).or_consecutive_failures(5);
/// const SLOW: BreakerPolicy = HALF_FAIL.or_slow_calls(0.8, Duration::from_secs(2)).of_last(100);
/// # let _ = SLOW;
/// ```
///
/// ```compile_fail
/// # use bartizan::circuit_breaker::BreakerPolicy;
/// const NEVER_CLOSES: BreakerPolicy = BreakerPolicy::new().probes(0, 0);
/// # let _ = NEVER_CLOSES;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    pub(super) failures: Option<Rate>,
    pub(super) consecutive: Option<u32>,
    pub(super) slow: Option<Slow>,
    pub(super) minimum: u32,
    pub(super) window: Span,
    pub(super) open: Duration,
    pub(super) longest: Duration,
    pub(super) jitter: Rate,
    pub(super) probes: u32,
    pub(super) good_probes: u32,
    pub(super) half_open_factor: u32,
    pub(super) ramp: Duration,
    pub(super) longest_retry_after: Duration,
}

/// A share, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u32);

/// Which share of calls may be slow, and what slow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    pub(super) rate: Rate,
    pub(super) threshold: Duration,
}

/// What the rates are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Time(Duration),
    Calls(u32),
}

const MILLION: u32 = 1_000_000;
/// A longer time than this is this: ten years. Sums of a few stay far from overflow.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The longest count window: what is counted in it fits into 24 bits.
const MOST_CALLS: u32 = 65_536;

// ===== impl BreakerPolicy =====

impl BreakerPolicy {
    /// Opens when half of at least 20 calls in the last 30 s have failed, or 7 one after the other.
    ///
    /// Open for 5 s at first, twice as long each time in a row, up to 60 s, and up to 20 % more or less; longer where
    /// the service says so with `Retry-After`, up to 300 s. Then 3 probes, of which 2 must succeed, in at most twice the
    /// time that it was open. Then the share of admitted calls rises from 10 % to all over 10 s. Slow calls don't count.
    ///
    /// Also when 2 failures one after the other both bring `Retry-After`: see
    /// [`heed_retry_after`](Self::heed_retry_after).
    #[must_use]
    pub const fn new() -> Self {
        Self::failure_rate(0.5).or_consecutive_failures(7)
    }

    /// Opens when this share of the calls in the window has failed, such as 0.5. The rest is as in [`new`](Self::new).
    ///
    /// # Panics
    /// If the share is not above 0 and at most 1.
    #[must_use]
    pub const fn failure_rate(share: f64) -> Self {
        Self::bare().or_failure_rate(share)
    }

    /// Opens after so many failures one after the other. The rest is as in [`new`](Self::new).
    ///
    /// A call is judged when its body has ended, or was let go of: it has failed, or it ends the series. As a body may take
    /// for ever, a good head also ends what failed at the head before it, unless no other follows, and what fails next does
    /// so in its body. So bodies that break add up until a call ends well, whatever else is in flight, and however long
    /// that takes: an endpoint whose streams are all cut off when they are quiet opens its breaker in the end.
    ///
    /// # Panics
    /// If `failures` is 0.
    #[must_use]
    pub const fn consecutive_failures(failures: u32) -> Self {
        Self::bare().or_consecutive_failures(failures)
    }

    /// Opens when this share of the calls in the window took at least `threshold` until their heads came. The rest is as
    /// in [`new`](Self::new).
    ///
    /// # Panics
    /// If the share is not above 0 and at most 1, or if `threshold` is zero.
    #[must_use]
    pub const fn slow_calls(share: f64, threshold: Duration) -> Self {
        Self::bare().or_slow_calls(share, threshold)
    }

    /// Opens on this share of failures, too. See [`failure_rate`](Self::failure_rate).
    ///
    /// # Panics
    /// If the share is not above 0 and at most 1.
    #[must_use]
    pub const fn or_failure_rate(mut self, share: f64) -> Self {
        self.failures = Some(Rate::new(share));
        self
    }

    /// Opens after so many failures one after the other, too. See [`consecutive_failures`](Self::consecutive_failures).
    ///
    /// # Panics
    /// If `failures` is 0.
    #[must_use]
    pub const fn or_consecutive_failures(mut self, failures: u32) -> Self {
        assert!(failures > 0, "a breaker that opens after no failure is always open");
        self.consecutive = Some(failures);
        self
    }

    /// Opens on this share of slow calls, too. See [`slow_calls`](Self::slow_calls).
    ///
    /// # Panics
    /// If the share is not above 0 and at most 1, or if `threshold` is zero.
    #[must_use]
    pub const fn or_slow_calls(mut self, share: f64, threshold: Duration) -> Self {
        assert!(!threshold.is_zero(), "every call takes longer than no time");
        self.slow = Some(Slow { rate: Rate::new(share), threshold });
        self
    }

    /// The rates count once the window holds so many calls: 20. A window of fewer calls counts once it is full.
    ///
    /// # Panics
    /// If `calls` is 0.
    #[must_use]
    pub const fn over(mut self, calls: u32) -> Self {
        assert!(calls > 0, "a rate is one of at least one call");
        self.minimum = calls;
        self
    }

    /// The rates are those of the last so many seconds: 30. The window moves on by tenths of it.
    ///
    /// # Panics
    /// If `time` is below a second.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        assert!(time.as_secs() > 0, "a window is at least a second long");
        self.window = Span::Time(shorter(time, FOREVER));
        self
    }

    /// The rates are those of the last so many calls, however long ago they were: in the place of a time.
    ///
    /// # Panics
    /// Unless there are 1 to 65 536.
    #[must_use]
    pub const fn of_last(mut self, calls: u32) -> Self {
        assert!(calls > 0 && calls <= MOST_CALLS, "a window holds 1 to 65 536 calls");
        self.window = Span::Calls(calls);
        self
    }

    /// Open for `base` (5 s), then twice as long each time in a row, up to `longest` (60 s).
    ///
    /// # Panics
    /// If `base` is zero, or above `longest`.
    #[must_use]
    pub const fn open_for(mut self, base: Duration, longest: Duration) -> Self {
        assert!(!base.is_zero(), "a breaker that is open for no time is closed");
        assert!(base.as_nanos() <= longest.as_nanos(), "the longest time is no shorter than the first");
        (self.open, self.longest) = (shorter(base, FOREVER), shorter(longest, FOREVER));
        self
    }

    /// Up to this share more or less of the time, so that not all come back at once: 0.2.
    ///
    /// # Panics
    /// If the share is not from 0 to below 1.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        assert!(share >= 0.0 && share < 1.0, "jitter is from 0 to below 1");
        self.jitter = Rate::of(share);
        self
    }

    /// Half-open, so many calls at most find out whether the service is well (3), and so many of them must succeed (2).
    ///
    /// # Panics
    /// If there are no probes, or if none or more than all of them must succeed.
    #[must_use]
    pub const fn probes(mut self, probes: u32, must_succeed: u32) -> Self {
        assert!(probes > 0, "a breaker without probes never closes");
        assert!(must_succeed > 0 && must_succeed <= probes, "at least one of the probes must succeed, at most all");
        (self.probes, self.good_probes) = (probes, must_succeed);
        self
    }

    /// Half-open for at most so many times as long as it was open (2). Then what the probes have shown has to do: if none
    /// has failed, one good head is enough, or the first message of a gRPC stream, as a body may take for ever.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub const fn half_open_at_most(mut self, times: u32) -> Self {
        assert!(times > 0, "probes take time");
        self.half_open_factor = times;
        self
    }

    /// For so long after closing (10 s), the share of admitted calls rises from 10 % to all. The first five in each
    /// second pass anyway. Zero admits all at once.
    #[must_use]
    pub const fn ramp(mut self, time: Duration) -> Self {
        self.ramp = shorter(time, FOREVER);
        self
    }

    /// Stays open for as long as the `Retry-After` of a failure says, up to this time: 300 s. Zero ignores the field.
    ///
    /// Two failures one after the other that both bring it open the breaker, whatever its other conditions are: one could
    /// be the maintenance page of a single tenant. A 429 never does, nor does its `Retry-After` count: it may be the limit
    /// of one client.
    #[must_use]
    pub const fn heed_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = shorter(longest, FOREVER);
        self
    }

    const fn bare() -> Self {
        Self {
            failures: None,
            consecutive: None,
            slow: None,
            minimum: 20,
            window: Span::Time(Duration::from_secs(30)),
            open: Duration::from_secs(5),
            longest: Duration::from_secs(60),
            jitter: Rate::of(0.2),
            probes: 3,
            good_probes: 2,
            half_open_factor: 2,
            ramp: Duration::from_secs(10),
            longest_retry_after: Duration::from_secs(300),
        }
    }

    /// How many calls make a rate.
    pub(super) const fn volume(&self) -> u32 {
        match self.window {
            Span::Calls(calls) if calls < self.minimum => calls,
            Span::Calls(_) | Span::Time(_) => self.minimum,
        }
    }
}

impl Default for BreakerPolicy {
    /// As [`BreakerPolicy::new`].
    fn default() -> Self {
        Self::new()
    }
}

// ===== impl Rate =====

impl Rate {
    const fn new(share: f64) -> Self {
        assert!(share > 0.0 && share <= 1.0, "a share is above 0 and at most 1");
        let rate = Self::of(share);
        // A share too small to count in millionths is one.
        if rate.0 == 0 { Self(1) } else { rate }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is from 0 to 1")]
    const fn of(share: f64) -> Self {
        Self((share * MILLION as f64 + 0.5) as u32)
    }

    /// Whether `part` is at least this share of `whole`.
    pub(super) const fn is_reached(self, part: u64, whole: u64) -> bool {
        part as u128 * MILLION as u128 >= whole as u128 * self.0 as u128
    }

    /// `nanos`, and up to this share more or less: less for low dice, more for high ones.
    pub(super) fn spread(self, nanos: u64, dice: u32) -> u64 {
        let most = u128::from(nanos) * u128::from(self.0) / u128::from(MILLION);
        let spread = 2 * most * u128::from(dice) / u128::from(u32::MAX);
        u64::try_from(u128::from(nanos) - most + spread).unwrap_or(u64::MAX)
    }
}

const fn shorter(one: Duration, other: Duration) -> Duration {
    if one.as_nanos() < other.as_nanos() { one } else { other }
}
