//! On which terms a stored response is reused: whether it is fresh, and how old it is (RFC 9111 §4.2).

use super::{
    Arrival, CachePolicy, Reach, ResponseDirectives,
    date::{self, Dated},
    lifetime::Lifetime,
    targeted,
};
use http::{
    HeaderMap, StatusCode,
    header::{ETAG, LAST_MODIFIED},
};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// What was agreed on with the origin when a response was stored: all that its reuse depends on, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// For how long after it went stale it may be used while it is refreshed behind (RFC 5861 §3). Zero if it may never be
    /// used when it is stale.
    pub(in crate::cache) stale_while_revalidate: Duration,
    /// For how long after it went stale it may be used because the origin fails (RFC 5861 §4). Zero if it may never be used
    /// when it is stale.
    pub(in crate::cache) stale_if_error: Duration,
    /// For how long it is worth keeping though it is not used without asking; zero if there is nothing to ask with.
    pub(in crate::cache) keep: Duration,
}

// ===== impl Terms =====

impl Terms {
    /// What a response says of its reuse: one that comes from the origin, or a stored one with the fields of the 304 that
    /// validated it, which then arrived when the 304 did (RFC 9111 §4.3.4).
    pub(in crate::cache) fn read(
        policy: &CachePolicy,
        status: StatusCode,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Self {
        let directives = targeted::directives(policy, headers);
        let lifetime = Lifetime::read(policy, &directives, status, headers, arrival);
        Self::new(policy, &directives, lifetime, headers, arrival)
    }

    pub(super) fn new(
        policy: &CachePolicy,
        directives: &ResponseDirectives,
        lifetime: Lifetime,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Self {
        let no_cache = directives.no_cache == Reach::Whole;
        let must_revalidate = directives.never_stale();
        // The policy's own windows are for what was fresh once: `max-age=0` and `Expires: -1` mostly mean that a response is
        // not to be used again, and of one that says nothing, nobody knows.
        let window = |said: Option<Duration>, default: Duration| match said {
            _ if no_cache || must_revalidate => Duration::ZERO,
            Some(said) => said,
            None if lifetime.span().is_zero() => Duration::ZERO,
            None => default,
        };
        // Who heeds `max-stale` may find a use for what was fresh once and cannot be validated.
        let wanted_stale = policy.heed_requests && !no_cache && !must_revalidate && !lifetime.span().is_zero();
        let useful = wanted_stale || has_validator(headers, arrival.wall);
        Self {
            received: arrival.received,
            initial_age: arrival.initial_age(headers),
            lifetime: if no_cache { Duration::ZERO } else { lifetime.span() },
            no_cache,
            must_revalidate,
            immutable: directives.immutable,
            stale_while_revalidate: window(directives.stale_while_revalidate, policy.stale_while_revalidate),
            stale_if_error: window(directives.stale_if_error, policy.stale_if_error),
            keep: if useful { policy.keep } else { Duration::ZERO },
        }
    }

    /// RFC 9111 §4.2.3, `current_age`: how old the response is, in what `Age` says of it.
    pub(in crate::cache) fn age(&self, now: Instant) -> Duration {
        self.initial_age.saturating_add(now.saturating_duration_since(self.received))
    }

    /// RFC 9111 §4.2: fresh as long as it is younger than its lifetime; a response with `no-cache` never is.
    pub(in crate::cache) fn is_fresh(&self, now: Instant) -> bool {
        // As long as its age is below its lifetime; without knowing its age, which takes longer to tell.
        let left = self.lifetime.saturating_sub(self.initial_age);
        let is_young = || self.received.checked_add(left).is_none_or(|end| now < end);
        !self.no_cache && !left.is_zero() && is_young()
    }

    /// Whether it may be an answer to many without being asked about: fresh, or stale within the window that it gives itself
    /// (RFC 5861 §3), which none has that must never be used stale.
    pub(in crate::cache) fn is_for_many(&self, now: Instant) -> bool {
        self.is_fresh(now) || self.stale_for(now) < self.stale_while_revalidate
    }

    /// For how long it is still fresh. Zero if it is not.
    pub(in crate::cache) fn remaining(&self, now: Instant) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// For how long it has been stale. Zero if it is fresh, and in the moment when it goes stale.
    pub(in crate::cache) fn stale_for(&self, now: Instant) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// The same for a response that went stale then, if it was not stale already.
    pub(in crate::cache) fn stale_since(&self, then: Instant) -> Self {
        Self { lifetime: self.lifetime.min(self.age(then)), immutable: false, ..self.clone() }
    }

    /// Until when it is worth keeping: as long as it may be an answer by itself, or while it is refreshed, or for an origin
    /// that fails; and for some time after it was fresh, to be validated.
    pub(in crate::cache) fn horizon(&self) -> Instant {
        let answers = self.lifetime.saturating_add(self.stale_while_revalidate.max(self.stale_if_error));
        let validates = self.remaining(self.received).saturating_add(self.keep);
        let span = answers.saturating_sub(self.initial_age).max(validates);
        self.received.checked_add(span).unwrap_or(self.received)
    }
}

/// Whether the origin can be asked whether the response still holds: an entity tag or a date of modification
/// (RFC 9110 §8.8).
pub(in crate::cache) fn has_validator(headers: &HeaderMap, now: SystemTime) -> bool {
    let tagged = headers.get(ETAG).is_some_and(|tag| {
        let tag = tag.as_bytes();
        let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
        opaque.len() >= 2 && opaque.starts_with(b"\"") && opaque.ends_with(b"\"")
    });
    tagged || matches!(date::field(headers, &LAST_MODIFIED, now), Dated::At(_))
}

#[cfg(test)]
#[path = "tests/freshness.rs"]
mod tests;
