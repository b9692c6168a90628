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
/// has not answered by then was too slow, is told of as `timeout` instead of `deadline`, and a breaker counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    instant: Instant,
    /// Whether we gave the service this time, where it stands in extensions. Nowhere else: taken along to a request that
    /// is made for this one, it is the time of who asks.
    is_limit: bool,
}

/// The longest time that can be counted from any instant.
pub(crate) const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Deadline {
    /// The deadline at `instant`.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self { instant, is_limit: false }
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
        let stands = extensions.get_or_insert(self);
        if self.instant < stands.instant {
            *stands = self;
        }
    }

    /// The same, as the time that we give whoever answers the request.
    pub fn limit(self, extensions: &mut Extensions) {
        Self { is_limit: true, ..self }.tighten(extensions);
    }

    /// The deadline of the request with these extensions, for who has to know whose it is.
    #[inline]
    pub(crate) fn standing(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    /// Whether it is a time that we gave the service.
    pub(crate) fn is_limit(self) -> bool {
        self.is_limit
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
        let now = Instant::now();
        let at = |seconds| Deadline::at(now + Duration::from_secs(seconds));
        let mut extensions = Extensions::new();
        let mut stands = |set: fn(Deadline, &mut Extensions), seconds| {
            set(at(seconds), &mut extensions);
            assert_eq!(Deadline::of(&extensions).map(Deadline::is_limit), Some(false), "taken along it is no limit");
            let stands = Deadline::standing(&extensions).expect("it was set");
            (stands.instant, stands.is_limit)
        };
        assert_eq!(stands(Deadline::tighten, 4), (at(4).instant, false));
        assert_eq!(stands(Deadline::limit, 5), (at(4).instant, false));
        assert_eq!(stands(Deadline::limit, 3), (at(3).instant, true));
        assert_eq!(stands(Deadline::tighten, 3), (at(3).instant, true));
        assert_eq!(stands(Deadline::tighten, 2), (at(2).instant, false));
    }
}
