//! When the time for a request is over, and whose time it was.

use crate::shared::Deadline;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// When a request is given up, and for what reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) refused: Refused,
}

/// Why a request was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The service did not answer within the time that it was given, which is told here: the layer's own limit, or what
    /// was left of one further out, if that was at least half of it. 504.
    Timeout(Duration),
    /// The request's [`Deadline`] passed, and it was earlier: the time of who asks, or less than half of a limit further
    /// out, of which others have had the rest. 504.
    Deadline,
}

// ===== impl Due =====

impl Due {
    /// The earlier of what is `left` of `limit` and the deadline. More than thirty years count as thirty years.
    pub(super) fn new(now: Instant, limit: Duration, left: Duration, deadline: Option<Deadline>) -> Self {
        const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let own = now + left.min(LONGEST);
        match deadline {
            Some(deadline) if deadline.instant() < own => Self::by_deadline(now, deadline),
            _ => Self { at: own, refused: Refused::Timeout(limit) },
        }
    }

    // Kept apart, so that those who have all of the limit do not pay for it.
    #[cold]
    fn by_deadline(now: Instant, deadline: Deadline) -> Self {
        let at = deadline.instant();
        let refused = match deadline.is_ample_limit(now) {
            true => Refused::Timeout(at.duration_since(now)),
            false => Refused::Deadline,
        };
        Self { at, refused }
    }
}

// ===== impl Refused =====

impl Refused {
    /// In one word, as in the problem's `code`, the [`Refusal`](crate::Refusal) mark and the access log: `timeout` or
    /// `deadline`.
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error_type())
    }
}
