//! How long a response is fresh (RFC 9111 §4.2.1, §4.2.2).

use super::{
    Arrival, CachePolicy, ResponseDirectives,
    date::{self, Dated},
    directives::LONGEST,
};
use http::{
    HeaderMap, StatusCode,
    header::{EXPIRES, LAST_MODIFIED},
};
use std::time::Duration;

/// How long a response is fresh, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// The response itself.
    Explicit(Duration),
    /// The list of statuses in the policy.
    Listed(Duration),
    /// The time since it was last modified (RFC 9111 §4.2.2).
    Heuristic(Duration),
    /// Nobody.
    Unknown,
}

// ===== impl Lifetime =====

impl Lifetime {
    /// RFC 9111 §4.2.1: the first of these that is there: `s-maxage`, `max-age`, `Expires` less `Date`; and if there is
    /// none, what the policy says of the status, or the heuristics of §4.2.2.
    pub(super) fn read(
        policy: &CachePolicy,
        directives: &ResponseDirectives,
        status: StatusCode,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Self {
        if let Some(explicit) = directives.s_maxage.or(directives.max_age) {
            return Self::Explicit(explicit);
        }
        // RFC 9111 §5.3: an invalid date, and more than one, is in the past. RFC 9213 §2.2: a targeted field stands in the
        // place of `Expires` too.
        if !directives.targeted {
            match date::field(headers, &EXPIRES, arrival.wall) {
                Dated::At(expires) => {
                    let span = expires.duration_since(arrival.date(headers)).unwrap_or_default();
                    return Self::Explicit(span.min(LONGEST));
                }
                Dated::Invalid => return Self::Explicit(Duration::ZERO),
                Dated::Absent => {}
            }
        }
        if let Some(listed) = policy.listed(status) {
            return Self::Listed(listed);
        }
        // RFC 9111 §4.2.2: only where the status, or `public`, allows to guess.
        match policy.heuristic {
            Some((hundredths, at_most)) if directives.public || is_heuristically_cacheable(status) => {
                let Dated::At(modified) = date::field(headers, &LAST_MODIFIED, arrival.wall) else {
                    return Self::Unknown;
                };
                let unchanged = arrival.date(headers).duration_since(modified).unwrap_or_default().min(LONGEST);
                Self::Heuristic((unchanged * u32::from(hundredths) / 100).min(at_most))
            }
            _ => Self::Unknown,
        }
    }

    pub(super) fn span(self) -> Duration {
        match self {
            Self::Explicit(span) | Self::Listed(span) | Self::Heuristic(span) => span,
            Self::Unknown => Duration::ZERO,
        }
    }
}

/// RFC 9110 §15.1. (206 is one of them, but is stored for what it is a part of.)
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}
