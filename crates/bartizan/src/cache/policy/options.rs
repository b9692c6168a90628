//! What the RFC leaves to whoever runs a cache.

use http::{HeaderName, StatusCode};
use std::time::Duration;

/// The rules of a cache, where RFC 9111 leaves a choice.
#[derive(Clone, Debug)]
pub struct CachePolicy {
    /// The share of the time since `Last-Modified` for which a response without explicit freshness is fresh, and the cap.
    pub(super) heuristic: Option<(u8, Duration)>,
    /// Whether `Cache-Control` of a request can make the cache ask the origin, or give a stale answer.
    pub(super) heed_requests: bool,
    /// Whether a response to `POST` that names its own URL in `Content-Location` may answer a `GET`.
    pub(super) post: bool,
    /// Whether a response with `Set-Cookie` may be stored without `public`.
    pub(super) set_cookie: bool,
    /// Whether a response to a request with `Cookie` may be stored without `public` or `s-maxage`.
    pub(super) cookie: bool,
    /// The fields that say it to us rather than to every cache (RFC 9213), the first that is there decides.
    pub(super) targeted: Vec<HeaderName>,
    pub(super) normalise: Normalise,
    /// For how long a stale response may stand in for an origin that fails, if the response says nothing about it.
    pub(super) stale_if_error: Duration,
    /// For how long a stale response is used while it is refreshed behind, if the response says nothing about it.
    pub(super) stale_while_revalidate: Duration,
    /// For how long a response is kept after its last use as an answer, to be validated.
    pub(super) keep: Duration,
    /// For how long responses with a status that say nothing of their freshness are fresh.
    pub(super) negative: Vec<(StatusCode, Duration)>,
    /// Whether 206 responses are stored and combined.
    pub(super) parts: bool,
}

/// Which fields are compared by what they mean when `Vary` names them.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Normalise {
    /// `Accept-Encoding`: the codings it accepts, whatever their order, case and weights.
    pub(in crate::cache) encoding: bool,
    /// `Accept-Language`, `Accept`, and other lists of alternatives.
    pub(in crate::cache) languages: bool,
}
