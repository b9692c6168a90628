//! What a cache does, for whoever watches.

use http::StatusCode;

/// How a request came by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A fresh response was stored.
    Hit,
    /// A stale one was used, as it is being refreshed behind (RFC 5861 §3).
    StaleWhileRevalidate,
    /// A stale one was used, as the client allows it (`max-stale`).
    Asked,
    /// A stale one was used, as the origin failed (RFC 5861 §4, RFC 9111 §4.2.4).
    StaleIfError(Forward),
    /// The origin said that what is stored still holds.
    Revalidated(Forward),
    /// The answer to another request, which was on its way already.
    Collapsed(Forward),
    /// The origin answered.
    Forwarded(Forward),
    /// `only-if-cached`, and nothing was there: 504.
    Refused,
}

/// Why the origin was asked (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forward {
    /// This kind of request is not for the cache.
    Bypass,
    /// The method does not allow for a stored answer.
    Method,
    /// Nothing was stored under this key.
    UriMiss,
    /// Something was stored, but for other requests.
    VaryMiss,
    /// Something was stored for this request, but not what could answer it: the head alone, from a `HEAD`.
    Miss,
    /// What was stored was fresh, but the request asked for more.
    Request,
    /// What was stored was stale.
    Stale,
    /// Only a part was stored.
    Partial,
}

/// What a cache did, for [`CacheLayer::observe`](super::CacheLayer::observe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request was answered with this status.
    Answered(Outcome, StatusCode),
    /// A response was stored whole, with so many bytes of content.
    Stored(u64),
    /// A response was not stored, for this reason: one word of few, as in `Cache-Status`.
    Declined(&'static str),
    /// A request that may have changed something took away what was stored for so many URLs.
    Invalidated(usize),
}

// ===== impl Outcome =====

impl Outcome {
    /// Whether what was used was stale, and nobody had said that it still holds.
    #[must_use]
    pub fn is_stale(self) -> bool {
        matches!(self, Self::StaleWhileRevalidate | Self::Asked | Self::StaleIfError(_))
    }
}
