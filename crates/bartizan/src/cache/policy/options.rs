//! What the RFC leaves to whoever runs a cache.

use super::{Vary, directives::LONGEST};
use http::{HeaderName, Method, StatusCode};
use std::time::Duration;

/// The rules of a cache, where RFC 9111 leaves a choice.
///
/// [`new`](Self::new) keeps what was not clearly meant for everybody to one request, and lets no client make the origin
/// work; [`rfc`](Self::rfc) does whatever the RFC allows. Both keep every MUST.
///
/// ```
/// use bartizan::cache::CachePolicy;
/// use http::StatusCode;
/// use std::time::Duration;
///
/// let policy = CachePolicy::new()
///     .fresh_for(StatusCode::NOT_FOUND, Duration::from_secs(10)) // a 404 that says nothing of its freshness
///     .stale_if_error(Duration::from_secs(600)); // ten minutes instead of a day
/// # let _ = policy;
/// ```
#[derive(Clone, Debug)]
pub struct CachePolicy {
    /// The share of the time since `Last-Modified`, in hundredths, for which a response without explicit freshness is
    /// fresh, and the cap.
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
    /// Fields that are written on the way from here to the service.
    pub(super) written_behind: Vec<HeaderName>,
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

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

// ===== impl CachePolicy =====

impl CachePolicy {
    /// The safe rules, for a cache that many clients share and that may be in front of a service that was not written with
    /// one in mind.
    ///
    /// Stored is what says for how long it is fresh. A response to a request with `Cookie` also has to say `public` or
    /// `s-maxage`; a response with `Set-Cookie`, `public`. Of the client's `Cache-Control`, `no-store` and `only-if-cached`
    /// are heeded. A stale response stands in for an origin that fails, for up to a day, unless the response forbids
    /// it; and it is kept for an hour to be validated. `CDN-Cache-Control` goes before `Cache-Control`. Parts are stored and
    /// combined. `Accept-Encoding` is compared by what it means.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heuristic: None,
            heed_requests: false,
            post: false,
            set_cookie: false,
            cookie: false,
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
            normalise: Normalise { encoding: true, languages: false },
            written_behind: Vec::new(),
            stale_if_error: DAY,
            stale_while_revalidate: Duration::ZERO,
            keep: HOUR,
            negative: Vec::new(),
            parts: true,
        }
    }

    /// All that RFC 9111 allows: like [`new`](Self::new), and heuristic freshness (a tenth of the time since `Last-Modified`,
    /// up to a day), the client's `Cache-Control`, `POST` for a later `GET`, cookies in both directions, and languages that
    /// are compared by what they mean.
    #[must_use]
    pub fn rfc() -> Self {
        Self {
            heuristic: Some((10, DAY)),
            heed_requests: true,
            post: true,
            set_cookie: true,
            cookie: true,
            normalise: Normalise { encoding: true, languages: true },
            ..Self::new()
        }
    }

    /// Takes a response that says nothing of its freshness for fresh, for so many hundredths of the time since its
    /// `Last-Modified`, and at most so long (RFC 9111 §4.2.2). Off by default, since what nobody declared cacheable may be
    /// one user's; the RFC's example is 10.
    ///
    /// # Panics
    /// If it is more than 100 hundredths.
    #[must_use]
    pub fn heuristics(mut self, hundredths: u8, at_most: Duration) -> Self {
        assert!(hundredths <= 100, "a response is not fresh for longer than it has been unchanged");
        self.heuristic = Some((hundredths, at_most.min(LONGEST)));
        self
    }

    /// Takes no response for fresh that does not say so. The default.
    #[must_use]
    pub fn no_heuristics(mut self) -> Self {
        self.heuristic = None;
        self
    }

    /// Whether the client's `no-cache`, `max-age`, `min-fresh`, `max-stale`, `stale-if-error` and `Pragma` are heeded. Off by
    /// default: whoever sends them makes the origin work, or gets what the others do not.
    #[must_use]
    pub fn heed_requests(mut self, heed: bool) -> Self {
        self.heed_requests = heed;
        self
    }

    /// Whether the response to a `POST` answers later `GET`s if it says how long it is fresh and names its own URL in
    /// `Content-Location` (RFC 9110 §9.3.3). Off by default: few services mean it.
    #[must_use]
    pub fn post_for_get(mut self, post: bool) -> Self {
        self.post = post;
        self
    }

    /// Fields that something between this cache and the service writes into each request, such as the `X-Forwarded-For` of a
    /// proxy behind the cache. A response that varies by one of them is not stored: which requests select it cannot be told
    /// here (RFC 9111 §4.1). There is none, if nothing is said.
    #[must_use]
    pub fn written_behind(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.written_behind.extend(names);
        self
    }

    /// Whether a response varies by what cannot be seen here.
    pub(super) fn varies_behind(&self, vary: &Vary) -> bool {
        match vary {
            Vary::Nothing => false,
            Vary::Fields(names) => names.iter().any(|name| self.written_behind.contains(name)),
            Vary::Everything => true,
        }
    }

    /// Whether a response with `Set-Cookie` is stored though it does not say `public`. Off by default: a cookie is mostly
    /// for one client, and the RFC lets everybody have it.
    #[must_use]
    pub fn set_cookie(mut self, store: bool) -> Self {
        self.set_cookie = store;
        self
    }

    /// Whether the response to a request with `Cookie` is stored though it says neither `public` nor `s-maxage`. Off by
    /// default: it may well depend on who asked.
    #[must_use]
    pub fn cookie(mut self, store: bool) -> Self {
        self.cookie = store;
        self
    }

    /// The fields that speak to this cache rather than to all (RFC 9213), the first that is valid decides.
    /// `CDN-Cache-Control` by default; leave it out if there is a CDN between this cache and the clients, for which it is meant
    /// then.
    #[must_use]
    pub fn targeted(mut self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.targeted = fields.into_iter().collect();
        self
    }

    /// Whether `Accept-Encoding` is compared by the codings that it accepts rather than by its text, if `Vary` names it. On by
    /// default: browsers write it in many ways, and each would be stored.
    #[must_use]
    pub fn normalise_encodings(mut self, normalise: bool) -> Self {
        self.normalise.encoding = normalise;
        self
    }

    /// The same for `Accept-Language`, `Accept`, and other lists of alternatives. Off by default: there are services that
    /// look at the text.
    #[must_use]
    pub fn normalise_languages(mut self, normalise: bool) -> Self {
        self.normalise.languages = normalise;
        self
    }

    /// For how long after it went stale a response stands in for an origin that fails, if it says nothing about it. A day
    /// by default; never for a response with `must-revalidate`, `proxy-revalidate`, `s-maxage` or `no-cache`, and not for one
    /// that never was fresh.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window.min(LONGEST);
        self
    }

    /// For how long after it went stale a response is an answer while it is refreshed behind, if it says nothing about it.
    /// Zero by default: who wants that says so (RFC 5861 §3).
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window.min(LONGEST);
        self
    }

    /// For how long a response that can be validated is kept when it can no longer be an answer by itself. An hour by
    /// default: a 304 is cheaper than the body.
    #[must_use]
    pub fn keep(mut self, span: Duration) -> Self {
        self.keep = span.min(LONGEST);
        self
    }

    /// How long responses with this status are fresh if they do not say it themselves: negative caching, for instance. No
    /// status by default. It goes before heuristics; a later call for the same status holds. What is never stored for its
    /// status (304, 412, 416, 428, 429, 431, 511) is not stored for this either.
    #[must_use]
    pub fn fresh_for(mut self, status: StatusCode, span: Duration) -> Self {
        self.negative.retain(|&(other, _)| other != status);
        self.negative.push((status, span.min(LONGEST)));
        self
    }

    /// Whether parts of a representation (206) are stored, and combined when they fit. On by default.
    #[must_use]
    pub fn parts(mut self, store: bool) -> Self {
        self.parts = store;
        self
    }

    /// Whether the answer to a request with this method may be stored.
    pub(in crate::cache) fn stores_answer_to(&self, method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD | Method::QUERY) || (self.post && *method == Method::POST)
    }

    /// Whether the answer to a request with `Cookie` is for others unless it says otherwise.
    pub(in crate::cache) fn shares_answers_to_cookies(&self) -> bool {
        self.cookie
    }

    /// Whether parts are stored.
    pub(in crate::cache) fn stores_parts(&self) -> bool {
        self.parts
    }

    /// How `Vary` is compared.
    pub(in crate::cache) fn normalise(&self) -> Normalise {
        self.normalise
    }

    /// How long a response with this status is fresh that does not say so itself.
    pub(super) fn listed(&self, status: StatusCode) -> Option<Duration> {
        self.negative.iter().find_map(|&(other, span)| (other == status).then_some(span))
    }
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_span_for_a_status_holds() {
        let policy = CachePolicy::new().fresh_for(StatusCode::NOT_FOUND, DAY).fresh_for(StatusCode::NOT_FOUND, HOUR);
        assert_eq!(policy.listed(StatusCode::NOT_FOUND), Some(HOUR));
        assert_eq!(policy.listed(StatusCode::GONE), None);
    }

    #[test]
    fn spans_are_held_to_what_a_clock_can_add() {
        let policy = CachePolicy::new().keep(Duration::MAX).stale_if_error(Duration::MAX);
        assert_eq!((policy.keep, policy.stale_if_error), (LONGEST, LONGEST));
    }

    #[test]
    #[should_panic(expected = "fresh for longer")]
    fn heuristics_beyond_the_whole_are_refused() {
        let _ = CachePolicy::new().heuristics(101, HOUR);
    }
}
