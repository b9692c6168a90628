//! When a response came, and how old it was then (RFC 9111 §4.2.3).

use super::{
    date::{self, Dated},
    directives::LONGEST,
    members,
};
use http::{
    HeaderMap,
    header::{AGE, DATE},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// When a response was asked for, and when its head came.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Arrival {
    pub(in crate::cache) requested: Instant,
    pub(in crate::cache) received: Instant,
    /// Wall time when the head came: what `Date` and `Expires` are compared with.
    pub(in crate::cache) wall: SystemTime,
}

// ===== impl Arrival =====

impl Arrival {
    /// Wall time as `Date` could say it, in whole seconds: a clock that agrees with ours is not taken for a slow one.
    fn second(&self) -> SystemTime {
        let whole = self.wall.duration_since(UNIX_EPOCH).map(|since| Duration::from_secs(since.as_secs()));
        whole.ok().and_then(|whole| UNIX_EPOCH.checked_add(whole)).unwrap_or(self.wall)
    }

    /// RFC 9110 §6.6.1: a response without a `Date` is dated by who receives it; so is one whose `Date` is none.
    pub(super) fn date(&self, headers: &HeaderMap) -> SystemTime {
        match date::field(headers, &DATE, self.wall) {
            Dated::At(date) => date,
            Dated::Absent | Dated::Invalid => self.second(),
        }
    }

    /// RFC 9111 §4.2.3: how old the response was on arrival. Either its `Date` tells it, or its `Age` and the time that it
    /// took from the request on; the older of both counts.
    pub(super) fn initial_age(&self, headers: &HeaderMap) -> Duration {
        let apparent = self.second().duration_since(self.date(headers)).unwrap_or_default();
        let delay = self.received.saturating_duration_since(self.requested);
        let corrected = age(headers).unwrap_or_default().saturating_add(delay);
        apparent.max(corrected).min(LONGEST)
    }
}

/// RFC 9111 §5.1: of several ages, the first counts, since it is the one that was there first; what is no number of seconds
/// is ignored; one that is too large is 2³¹ (§1.2.2).
fn age(headers: &HeaderMap) -> Option<Duration> {
    let line = headers.get(AGE)?.as_bytes();
    let first = line.split(|&byte| byte == b',').next()?;
    members::seconds(first.trim_ascii())
}
