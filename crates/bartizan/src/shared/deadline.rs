//! One request, one deadline.

use http::Extensions;
use std::time::Duration;
use tokio::time::Instant;

/// The instant after which nobody waits for this request's answer any more.
///
/// It stands in the request's extensions. Whoever waits (a limiter, a retry, a call to another service) consults it,
/// and can only shorten it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The longest time that can be counted from any instant.
pub(crate) const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Deadline {
    /// The deadline at `instant`.
    #[must_use]
    pub fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline that is `time` from now. A time too long to count (decades) counts as thirty years.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time.min(THIRTY_YEARS))
    }

    /// The deadline of the request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }

    /// Sets this deadline on a request, unless an earlier one stands there.
    pub fn tighten(self, extensions: &mut Extensions) {
        let stands = extensions.get_or_insert(self);
        *stands = self.min(*stands);
    }

    /// The instant itself, for `tokio::time::timeout_at`.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time that is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}
