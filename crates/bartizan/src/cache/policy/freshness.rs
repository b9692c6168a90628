//! How long a stored response is fresh, and how old it is (RFC 9111 §4.2).

use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// When a response was asked for, and when its head came.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Arrival {
    pub(in crate::cache) requested: Instant,
    pub(in crate::cache) received: Instant,
    /// Wall time when the head came: what `Date` and `Expires` are compared with.
    pub(in crate::cache) wall: SystemTime,
}

/// What was agreed on with the origin when a response was stored: all that its reuse depends on, read once.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Terms {
    /// When the head of the response came.
    pub(in crate::cache) received: Instant,
    /// How old the response was then (RFC 9111 §4.2.3, `corrected_initial_age`).
    pub(in crate::cache) initial_age: Duration,
    /// How old it may become and still be fresh (§4.2.1). Zero if it has to be validated each time.
    pub(in crate::cache) lifetime: Duration,
    /// `no-cache`: not used without validation, whatever its age and whatever the client or a failure says.
    pub(in crate::cache) no_cache: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: never used when it is stale.
    pub(in crate::cache) must_revalidate: bool,
    /// `immutable` (RFC 8246).
    pub(in crate::cache) immutable: bool,
    /// For how long after it went stale it may be used while it is refreshed behind (RFC 5861 §3).
    pub(in crate::cache) stale_while_revalidate: Duration,
    /// For how long after it went stale it may be used because the origin fails (RFC 5861 §4).
    pub(in crate::cache) stale_if_error: Duration,
}
