//! One request, one deadline.

use http::Extensions;
use std::time::Duration;
use tokio::time::Instant;

/// The instant after which nobody waits for this request's answer any more.
///
/// It stands in the request's extensions. Whoever waits (a limiter, a retry, a call to another service) consults it,
/// and can only shorten it.
///
/// Whoever shortens it says whose time it is. With [`tighten`](Self::tighten) it is that of who asks: it may be too
/// little for any service, so that none is to blame. With [`limit`](Self::limit) it is one that we give the service: what
/// has had at least half of it and not answered by then was too slow, is told of as `timeout` instead of `deadline`, and a
/// breaker counts it. Who has had less, because we waited or asked another one first, is not to blame either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    instant: Instant,
    /// How many nanoseconds we gave the service in all; none, if it is not we who did. A number, since every request carries
    /// it, and few ask. [`of`](Self::of) and [`tighten`](Self::tighten) do not take it along: for a request that is made for
    /// this one, it is the time of who asks. A copy of the extension as it stands is one of this, too.
    limit: u64,
}

/// The longest time that can be counted from any instant.
pub(crate) const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Deadline {
    /// The deadline at `instant`.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self { instant, limit: 0 }
    }

    /// The deadline that is `time` from now. A time too long to count (decades) counts as thirty years.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self::at(Instant::now() + time.min(THIRTY_YEARS))
    }

    /// The deadline of the request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        Self::standing(extensions).map(|stands| Self::at(stands.instant))
    }

    /// Sets this deadline on a request, unless an earlier one stands there.
    pub fn tighten(self, extensions: &mut Extensions) {
        Self::at(self.instant).set(extensions);
    }

    /// The same, as the time that we give whoever answers the request: all that is left by now.
    pub fn limit(self, extensions: &mut Extensions) {
        self.limit_of(self.remaining(), extensions);
    }

    /// The same, as the end of so long a time.
    #[inline]
    pub(crate) fn limit_of(self, limit: Duration, extensions: &mut Extensions) {
        let limit = limit.as_secs().saturating_mul(1_000_000_000).saturating_add(limit.subsec_nanos().into());
        Self { limit, ..self }.set(extensions);
    }

    #[inline]
    fn set(self, extensions: &mut Extensions) {
        let stands = extensions.get_or_insert(self);
        if self.instant < stands.instant {
            *stands = self;
        }
    }

    /// The deadline of the request with these extensions, for who has to know whose it is.
    #[inline]
    pub(crate) fn standing(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    /// Whether it is a time that we gave the service, and who asks it from `now` on has at least half of it.
    pub(crate) fn is_ample_limit(self, now: Instant) -> bool {
        let left = self.instant.saturating_duration_since(now).as_nanos();
        self.limit > 0 && left >= u128::from(self.limit / 2)
    }

    /// The instant itself, for `tokio::time::timeout_at`.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.instant
    }

    /// The time that is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.instant.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_stands_and_whose_it_is_counts_only_there() {
        const SECOND: Duration = Duration::from_secs(1);
        let now = Instant::now();
        let at = |seconds| Deadline::at(now + seconds * SECOND);
        let limit: fn(Deadline, &mut Extensions) = |deadline, extensions| deadline.limit_of(SECOND, extensions);
        let mut extensions = Extensions::new();
        let mut stands = |set: fn(Deadline, &mut Extensions), seconds| {
            set(at(seconds), &mut extensions);
            let stands = Deadline::standing(&extensions).expect("it was set");
            let mut along = Extensions::new();
            stands.tighten(&mut along);
            for along in [Deadline::of(&extensions), Deadline::standing(&along)] {
                assert_eq!(along, Some(Deadline::at(stands.instant)), "taken along it is no limit");
            }
            (stands.instant, stands.limit)
        };
        assert_eq!(stands(Deadline::tighten, 4), (at(4).instant, 0));
        assert_eq!(stands(limit, 5), (at(4).instant, 0));
        assert_eq!(stands(limit, 3), (at(3).instant, 1_000_000_000));
        assert_eq!(stands(Deadline::tighten, 3), (at(3).instant, 1_000_000_000));
        assert_eq!(stands(Deadline::tighten, 2), (at(2).instant, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_all_the_time_that_is_left_when_it_is_set_and_ample_until_half_of_it_is_over() {
        const MILLI: Duration = Duration::from_millis(1);
        let now = Instant::now();
        let mut extensions = Extensions::new();
        Deadline::at(now + 1000 * MILLI).limit(&mut extensions);
        let stands = Deadline::standing(&extensions).expect("it was set");
        assert_eq!(stands.limit, 1_000_000_000);
        for (after, is_ample) in [(0, true), (500, true), (501, false), (1000, false), (2000, false)] {
            assert_eq!(stands.is_ample_limit(now + after * MILLI), is_ample, "{after}");
            assert!(!Deadline::at(stands.instant).is_ample_limit(now + after * MILLI));
        }
    }
}
