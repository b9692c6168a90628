//! What a retry tells whoever watches it.

use http::StatusCode;
use std::time::Duration;

/// What happened, for [`RetryLayer::observe`](super::RetryLayer::observe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An attempt has failed, and there will be another one.
    Retried {
        /// Which one has failed, the first being 1.
        attempt: u32,
        /// Of what.
        reason: Reason,
        /// How long before the next one.
        pause: Duration,
    },
    /// An attempt has failed, and there will be no other.
    GaveUp {
        /// How many there were.
        attempts: u32,
        /// Of what the last one has failed.
        reason: Reason,
        /// Why there is no other.
        why: GaveUp,
    },
    /// After failures, there was an answer that is none.
    Recovered {
        /// How many attempts it took.
        attempts: u32,
    },
}

/// Why an attempt counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The answer's status.
    Status(StatusCode),
    /// gRPC's status: `UNAVAILABLE` is 14, `RESOURCE_EXHAUSTED` 8; and 4 is a timeout of ours.
    GrpcStatus(u8),
    /// An error, after which the request is certain not to have been processed.
    Unprocessed,
    /// Another error.
    Error,
}

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GaveUp {
    /// The request may not be sent twice: its method is not idempotent, it has no key, and nobody has said otherwise.
    NotRepeatable,
    /// The error would come again.
    Final,
    /// All attempts are made.
    Attempts,
    /// Its body was longer than is kept, half read when the answer came, or broken.
    NotReplayable,
    /// The server said not to.
    Told,
    /// The server asked for a longer pause than it may.
    LongPause,
    /// The next attempt could not end before the request's deadline.
    Deadline,
    /// The budget is spent.
    Budget,
    /// The service fails before it is called: it is closed.
    Unready,
    /// A layer between here and the service refused the retry: a circuit breaker that has opened meanwhile.
    Refused,
}
