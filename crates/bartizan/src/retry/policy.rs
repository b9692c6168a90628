//! What is sent again, when, and how often.

use super::backoff::{Backoff, Jitter};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// What is sent again, when, and how often: plain data.
///
/// As an extension of a request it takes the place of the layer's own, for that request:
///
/// ```
/// use bartizan::retry::RetryPolicy;
///
/// const SEARCH: RetryPolicy = RetryPolicy::attempts(2).repeatable(); // a POST that changes nothing
///
/// let request = http::Request::post("/search").extension(SEARCH).body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) longest_told: Duration,
    pub(super) statuses: Statuses,
    pub(super) repeatable: bool,
    pub(super) unprocessed: bool,
    pub(super) replay: usize,
}

/// Whether a server can know a request again by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    /// There is none, or there is nothing in it.
    Not,
    Once,
    /// The draft has a single item. What a server makes of several lines, nobody knows but the caller, if he does.
    Unclear,
}

/// A set of statuses from 400 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statuses([u64; 4]);

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

// ===== impl RetryPolicy =====

impl RetryPolicy {
    /// So many attempts in all, the first one counted.
    ///
    /// What else holds unless it is changed: pauses of up to 50 ms, doubled each time, at most 20 s, with full jitter,
    /// and from 1 s on after a 429 (the figures of the AWS SDKs' standard mode of 2026); what the server tells instead,
    /// up to 300 s; the statuses 429, 502, 503 and 504; bodies of up to 64 KiB.
    ///
    /// # Panics
    /// If there is to be no attempt at all; in a `const`, that does not compile.
    #[must_use]
    pub const fn attempts(attempts: u32) -> Self {
        assert!(attempts > 0, "the first call is an attempt too: there is at least one");
        Self {
            attempts,
            backoff: Backoff::DEFAULT,
            longest_told: Duration::from_secs(300),
            statuses: Statuses::EMPTY
                .with(StatusCode::TOO_MANY_REQUESTS)
                .with(StatusCode::BAD_GATEWAY)
                .with(StatusCode::SERVICE_UNAVAILABLE)
                .with(StatusCode::GATEWAY_TIMEOUT),
            repeatable: false,
            unprocessed: true,
            replay: 64 * 1024,
        }
    }

    /// One attempt: nothing is sent again. As an extension it keeps a request from it.
    #[must_use]
    pub const fn never() -> Self {
        Self::attempts(1)
    }

    /// How long the pauses are spread. [`Jitter::Full`] by default.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.backoff.jitter = jitter;
        self
    }

    /// How long the first pause is at most, and how long any. 50 ms and 20 s by default; it doubles each time. With
    /// [`Jitter::Decorrelated`], the first is how long any is at least.
    #[must_use]
    pub const fn pause(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff.base = first;
        self.backoff.longest = longest;
        self
    }

    /// The same as the first pause of [`pause`](Self::pause), after an answer that says that there was too much of us:
    /// 429, or `RESOURCE_EXHAUSTED`. 1 s by default.
    #[must_use]
    pub const fn pause_when_throttled(mut self, first: Duration) -> Self {
        self.backoff.throttled = first;
        self
    }

    /// How long a pause the server may ask for. 300 s by default; an answer that asks for more is returned at once.
    #[must_use]
    pub const fn longest_told(mut self, longest: Duration) -> Self {
        self.longest_told = longest;
        self
    }

    /// The statuses after which a request is sent again, if it may be sent twice at all. By default 429, 502, 503 and
    /// 504; 408 says that the server has waited for us, and 500 may have changed something. A timeout of ours inside of
    /// the retry is no status of the server's: it is a reason in any case.
    ///
    /// # Panics
    /// If one of them is no error: not from 400 to 599. In a `const`, that does not compile.
    #[must_use]
    pub const fn statuses(mut self, statuses: &[StatusCode]) -> Self {
        self.statuses = Statuses::EMPTY;
        let mut at = 0;
        while at < statuses.len() {
            self.statuses = self.statuses.with(statuses[at]);
            at += 1;
        }
        self
    }

    /// Says that the requests may be sent twice whatever their method. By default that holds for the idempotent methods
    /// (RFC 9110 §9.2.2) and for a request with an `Idempotency-Key`, of one line with something in it. All calls of
    /// gRPC are POST: this is for the methods of yours that bear it.
    #[must_use]
    pub const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Leaves requests alone that may not be sent twice, and copies nothing of them, unless what is refused on this side
    /// may go [elsewhere](super::RetryLayer::elsewhere). By default they are sent again after an error that proves that
    /// the service has not seen them.
    #[must_use]
    pub const fn only_repeatable(mut self) -> Self {
        self.unprocessed = false;
        self
    }

    /// The longest body that is kept for another attempt, in bytes: 64 KiB by default. A longer one streams all the
    /// same, and can be sent once.
    #[must_use]
    pub const fn replay_up_to(mut self, bytes: usize) -> Self {
        self.replay = bytes;
        self
    }

    /// How many attempts a request has that is itself a retry of whoever sent it to us: half of them, at least one.
    /// Three in a row of us would be 27 requests otherwise.
    pub(super) const fn attempts_of_a_retry(&self) -> u32 {
        if self.attempts < 4 { 1 } else { self.attempts / 2 }
    }

    /// Whether a request may reach the service twice.
    pub(super) fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.repeatable || is_idempotent(method) || keyed(headers) == Keyed::Once
    }
}

/// Whether a request has an `Idempotency-Key`.
///
/// Few heads have so many fields that hashing the name were quicker than looking at each.
pub(super) fn keyed(headers: &HeaderMap) -> Keyed {
    const FEW: usize = 24;
    let is_there = match headers.keys_len() {
        0..=FEW => headers.keys().any(|name| *name == IDEMPOTENCY_KEY),
        _ => headers.contains_key(IDEMPOTENCY_KEY),
    };
    if is_there { Keyed::by(headers) } else { Keyed::Not }
}

/// RFC 9110 §9.2.2: PUT, DELETE and the safe methods. A method that we do not know may be anything.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

// ===== impl Keyed =====

impl Keyed {
    /// By the lines of the field, of which there is one at least.
    #[inline(never)]
    fn by(headers: &HeaderMap) -> Self {
        // An empty string, of the structured kind too, would be the same key for all requests.
        let is_blank = |line: &HeaderValue| line.as_bytes().iter().all(|byte| matches!(byte, b' ' | b'\t' | b'"'));
        let lines = headers.get_all(IDEMPOTENCY_KEY);
        match (lines.iter().all(is_blank), lines.iter().nth(1)) {
            (true, _) => Self::Not,
            (false, None) => Self::Once,
            (false, Some(_)) => Self::Unclear,
        }
    }
}

// ===== impl Statuses =====

impl Statuses {
    const EMPTY: Self = Self([0; 4]);

    const fn with(mut self, status: StatusCode) -> Self {
        let status = status.as_u16();
        assert!(400 <= status && status < 600, "only an error, from 400 to 599, is a reason to try again");
        let bit = (status - 400) as usize;
        self.0[bit / 64] |= 1 << (bit % 64);
        self
    }

    pub(super) fn contain(self, status: StatusCode) -> bool {
        let bit = usize::from(status.as_u16()).wrapping_sub(400);
        self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }
}
