//! How much, how often.

use std::time::Duration;

/// So much in so long: a policy as plain data.
///
/// By default a quota is paced by GCRA (a token bucket): `per_second(10)` lets ten requests pass in a second, one each
/// 100 ms, after a burst of at most [`burst`](Self::burst) at once. Unless you say otherwise, the burst is what comes in
/// one second, at least one: so `per_day(3)` lets one pass, and the next after eight hours; for three at any time of the
/// day write `per_day(3).burst(3)`, or count in a [window](Self::sliding_window). Intervals are whole nanoseconds,
/// rounded down, which matters only above a million a second.
///
/// Zero does not compile, where the quota is a `const`:
///
/// ```
/// use bartizan_store::Quota;
/// use std::time::Duration;
///
/// const PER_CLIENT: Quota = Quota::per_second(10).burst(20);
/// assert_eq!(PER_CLIENT.interval(), Duration::from_millis(100));
/// assert_eq!(PER_CLIENT.burst_size(), 20);
/// assert_eq!(Quota::per_second(10).burst_size(), 10);
/// assert_eq!(Quota::per_minute(100).burst_size(), 2);
/// assert_eq!(Quota::per_day(1000).sliding_window().burst_size(), 1000);
/// ```
///
/// ```compile_fail
/// # use bartizan_store::Quota;
/// const NOTHING: Quota = Quota::per_second(0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u32,
    burst: u32,
    period_ns: u64,
    interval_ns: u64,
    algorithm: Algorithm,
}

/// More than this cannot be owed: nanoseconds are counted in 64 bits.
const CENTURY_NS: u64 = 100 * 366 * 24 * 60 * 60 * 1_000_000_000;

/// How a quota is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// The generic cell rate algorithm: a token bucket in eight bytes. Over any stretch of time it admits at most the
    /// burst and what the stretch replenishes.
    Gcra,
    /// A window that opens with the first request and admits the limit until it closes. Twice the limit may pass across
    /// the border of two windows.
    FixedWindow,
    /// A fixed window that opens at whole periods since 1970-01-01T00:00Z: hours and days as UTC has them.
    CalendarWindow,
    /// A window that slides in this many segments. Never more than the limit passes in one period; what has passed is
    /// forgotten up to one segment late.
    SlidingWindow(u8),
    /// Every request of the last period, remembered one by one: exact, and up to 32 bytes for each unit of the limit.
    SlidingLog,
}

impl Quota {
    /// The most that a [`SlidingLog`](Algorithm::SlidingLog) may have to remember.
    pub const LONGEST_LOG: u32 = 1000;

    /// `limit` in each second.
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub const fn per_second(limit: u32) -> Self {
        Self::per(limit, Duration::from_secs(1))
    }

    /// `limit` in each minute.
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub const fn per_minute(limit: u32) -> Self {
        Self::per(limit, Duration::from_secs(60))
    }

    /// `limit` in each hour.
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub const fn per_hour(limit: u32) -> Self {
        Self::per(limit, Duration::from_secs(60 * 60))
    }

    /// `limit` in each day of 24 hours.
    ///
    /// # Panics
    /// If `limit` is 0.
    #[must_use]
    pub const fn per_day(limit: u32) -> Self {
        Self::per(limit, Duration::from_secs(24 * 60 * 60))
    }

    /// `limit` in each `period`.
    ///
    /// # Panics
    /// If `limit` is 0, or `period` is longer than a year, or shorter than a nanosecond for each unit of the limit.
    #[must_use]
    pub const fn per(limit: u32, period: Duration) -> Self {
        assert!(limit > 0, "a quota of zero admits nothing: leave the route out instead");
        assert!(period.as_secs() <= 366 * 24 * 60 * 60, "a quota's period is at most a year");
        let period_ns = period.as_secs() * 1_000_000_000 + period.subsec_nanos() as u64;
        assert!(period_ns >= limit as u64, "a quota admits at most one each nanosecond");
        // What comes in a second, rounded up; no more than the limit, for periods under a second.
        let in_a_second = (limit as u64 * 1_000_000_000).div_ceil(period_ns);
        #[allow(clippy::cast_possible_truncation, reason = "no more than `limit`, which is a u32")]
        let burst = if in_a_second < limit as u64 { in_a_second as u32 } else { limit };
        Self { limit, burst, period_ns, interval_ns: period_ns / limit as u64, algorithm: Algorithm::Gcra }
    }

    /// How many may pass at once when none has passed for a while.
    ///
    /// # Panics
    /// If `burst` is 0, if it takes more than a century to replenish, or if the quota is counted in windows, which have
    /// no other burst than their limit.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        assert!(burst > 0, "a burst of zero admits nothing");
        assert!(matches!(self.algorithm, Algorithm::Gcra), "only a GCRA quota has a burst beside its limit");
        assert!(
            self.interval_ns() as u128 * burst as u128 <= CENTURY_NS as u128,
            "a burst is replenished in at most a century"
        );
        self.burst = burst;
        self
    }

    /// Counts in a [`FixedWindow`](Algorithm::FixedWindow).
    ///
    /// # Panics
    /// If another [`burst`](Self::burst) than the limit was asked for; see [`counted_by`](Self::counted_by).
    #[must_use]
    pub const fn fixed_window(self) -> Self {
        self.counted_by(Algorithm::FixedWindow)
    }

    /// Counts in a [`CalendarWindow`](Algorithm::CalendarWindow).
    ///
    /// # Panics
    /// If another [`burst`](Self::burst) than the limit was asked for; see [`counted_by`](Self::counted_by).
    #[must_use]
    pub const fn calendar_window(self) -> Self {
        self.counted_by(Algorithm::CalendarWindow)
    }

    /// Counts in a [`SlidingWindow`](Algorithm::SlidingWindow) of ten segments.
    ///
    /// # Panics
    /// If another [`burst`](Self::burst) than the limit was asked for; see [`counted_by`](Self::counted_by).
    #[must_use]
    pub const fn sliding_window(self) -> Self {
        self.counted_by(Algorithm::SlidingWindow(10))
    }

    /// Counts in a [`SlidingLog`](Algorithm::SlidingLog).
    ///
    /// # Panics
    /// If the limit is over [`LONGEST_LOG`](Self::LONGEST_LOG), or another [`burst`](Self::burst) than it was asked for; see
    /// [`counted_by`](Self::counted_by).
    #[must_use]
    pub const fn sliding_log(self) -> Self {
        self.counted_by(Algorithm::SlidingLog)
    }

    /// Counts by `algorithm`; in windows the burst is the limit, and for GCRA as it was, or what comes in a second.
    ///
    /// # Panics
    /// If a sliding window has no segment, if a sliding log's limit is over [`LONGEST_LOG`](Self::LONGEST_LOG), or if another
    /// [`burst`](Self::burst) than the limit was asked for, which a window does not have. One of just what comes in a second goes
    /// unnoticed: `per_minute(600).burst(10).sliding_window()` admits 600 at once.
    #[must_use]
    pub const fn counted_by(mut self, algorithm: Algorithm) -> Self {
        let unsaid = Self::per(self.limit, self.period());
        match algorithm {
            Algorithm::Gcra => return if matches!(self.algorithm, Algorithm::Gcra) { self } else { unsaid },
            Algorithm::SlidingWindow(segments) => assert!(segments > 0, "a sliding window has at least one segment"),
            Algorithm::SlidingLog => assert!(self.limit <= Self::LONGEST_LOG, "a sliding log remembers at most 1000"),
            Algorithm::FixedWindow | Algorithm::CalendarWindow => {}
        }
        let is_own = self.burst == unsaid.burst || self.burst == self.limit;
        assert!(is_own, "only a GCRA quota has a burst beside its limit");
        self.algorithm = algorithm;
        self.burst = self.limit;
        self
    }

    /// How many pass in each period.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many may pass at once; also the largest cost that one request can have.
    #[must_use]
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    /// The period.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }

    /// The time in which one unit is replenished.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// How it is counted.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) const fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    pub(crate) const fn period_ns(&self) -> u64 {
        self.period_ns
    }
}
