//! May a stored response answer a request (RFC 9111 §4)?

use super::{CachePolicy, RequestDirectives, Terms};
use http::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

/// What is to be done with the stored response that a request selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Reuse {
    /// It is the answer.
    Fresh,
    /// It is stale, and the client takes it so (`max-stale`).
    Stale,
    /// It is stale, and is the answer while it is refreshed behind (`stale-while-revalidate`).
    WhileRevalidate,
    /// The origin has to be asked first.
    Validate,
}

/// Why an origin gave no answer that could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Failure {
    /// It was not reached, or the connection ended before its head.
    Unreachable,
    /// It answered with this.
    Status(StatusCode),
    /// A circuit breaker keeps it from being asked.
    Open,
    /// It took too long.
    TimedOut,
}

/// Whether a stored response answers a request.
///
/// What the client asks for counts only if the policy heeds it; then everything except `max-stale` can only make the cache
/// ask more often.
pub(in crate::cache) fn reuse(policy: &CachePolicy, request: &RequestDirectives, terms: &Terms, now: Instant) -> Reuse {
    // RFC 9111 §5.2.2.4: not without validation, whatever else is said, `max-stale` included.
    if terms.no_cache {
        return Reuse::Validate;
    }
    let fresh = terms.is_fresh(now);
    if policy.heed_requests && must_ask(request, terms, fresh, now) {
        return Reuse::Validate;
    }
    if fresh {
        return Reuse::Fresh;
    }
    // RFC 9111 §4.2.4, §5.2.2.2: never stale, whatever the client takes.
    if terms.must_revalidate {
        return Reuse::Validate;
    }
    let stale_for = terms.stale_for(now);
    // RFC 5861 §3: up to the end of the window.
    if stale_for < terms.stale_while_revalidate && !wants_no_stale(policy, request) {
        return Reuse::WhileRevalidate;
    }
    // RFC 9111 §5.2.1.2.
    match request.max_stale {
        Some(most) if policy.heed_requests && stale_for <= most => Reuse::Stale,
        _ => Reuse::Validate,
    }
}

/// Whether the client wants the origin to be asked, though the cache itself would not.
fn must_ask(request: &RequestDirectives, terms: &Terms, fresh: bool, now: Instant) -> bool {
    // RFC 9111 §5.2.1.4.
    if request.no_cache {
        return true;
    }
    // RFC 9111 §5.2.1.3: it has to stay fresh for so long.
    if request.min_fresh.is_some_and(|least| terms.remaining(now) < least) {
        return true;
    }
    // RFC 9111 §5.2.1.1: no older than that. A client that reloads says `max-age=0`; RFC 8246 §2: a fresh response that does
    // not change is not asked for again for that, only for `no-cache`.
    let reload_in_vain = fresh && terms.immutable;
    !reload_in_vain && request.max_age.is_some_and(|most| terms.age(now) >= most)
}

/// RFC 9111 §5.2.1.1, §5.2.1.3: with `max-age` and without `max-stale` the client wants no stale response; with `min-fresh`
/// neither.
fn wants_no_stale(policy: &CachePolicy, request: &RequestDirectives) -> bool {
    let wants_fresh = request.max_age.is_some() || request.min_fresh.is_some();
    policy.heed_requests && wants_fresh && request.max_stale.is_none()
}

/// Whether a stored response is the answer since the origin has failed, though it would have had to be asked.
///
/// RFC 9111 §4.2.4: not where `no-cache`, `must-revalidate`, `proxy-revalidate` or `s-maxage` forbid it. RFC 5861 §4: within
/// the window that the response allows, or the request; whatever else the request says of freshness.
pub(in crate::cache) fn may_stand_in(
    policy: &CachePolicy,
    request: &RequestDirectives,
    terms: &Terms,
    now: Instant,
    why: Failure,
) -> bool {
    if terms.no_cache || !why.is_the_origins() || (policy.heed_requests && request.no_cache) {
        return false;
    }
    if terms.is_fresh(now) {
        return true;
    }
    let asked = if policy.heed_requests { request.stale_if_error } else { None };
    let window = terms.stale_if_error.max(asked.unwrap_or(Duration::ZERO));
    !terms.must_revalidate && terms.stale_for(now) < window
}

// ===== impl Failure =====

impl Failure {
    /// RFC 5861 §4: an error is what is, or would be, a 500, 502, 503 or 504; any other status is an answer.
    fn is_the_origins(self) -> bool {
        match self {
            Self::Status(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
            Self::Unreachable | Self::Open | Self::TimedOut => true,
        }
    }
}

#[cfg(test)]
#[path = "tests/reuse.rs"]
mod tests;
