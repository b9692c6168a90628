//! Why somebody else answers: the decision.

use crate::shared::{GrpcStatus, Refusal};
use http::{Extensions, HeaderMap, HeaderValue, Method, Response, StatusCode};
use std::fmt;

/// Why a fallback answers in the place of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// One of our layers refused to call the service, or gave it up: its error type is `breaker_open`, `overloaded`,
    /// `timeout`, …
    Refused(Refusal),
    /// The service answered with this status.
    Status(StatusCode),
    /// The service failed without an answer.
    Error,
}

/// The mark on a response that a fallback gave: it stands in the extensions, so that whoever puts answers together can
/// tell one from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    reason: Reason,
}

/// What counts as an answer of a service that cannot.
#[derive(Clone, Debug)]
pub(super) struct Triggers {
    /// The statuses from 500 to 599, one bit each.
    statuses: [u64; 2],
    pub(super) errors: bool,
    pub(super) rate_limited: bool,
    pub(super) unsafe_methods: bool,
}

// ===== impl Reason =====

impl Reason {
    /// As the field tells it: the error type of a refusal, the number of a status, or `error`.
    pub(super) fn value(self) -> HeaderValue {
        match self {
            Self::Refused(refusal) => HeaderValue::from_static(refusal.error_type()),
            Self::Status(status) => HeaderValue::from(status.as_u16()),
            Self::Error => HeaderValue::from_static("error"),
        }
    }
}

/// `breaker_open`, `503`, or `error`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => f.write_str(refusal.error_type()),
            Self::Status(status) => f.write_str(status.as_str()),
            Self::Error => f.write_str("error"),
        }
    }
}

// ===== impl Fallback =====

impl Fallback {
    pub(super) fn new(reason: Reason) -> Self {
        Self { reason }
    }

    /// The mark of a response with these extensions, if a fallback gave it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// Why the service did not answer itself.
    #[must_use]
    pub fn reason(self) -> Reason {
        self.reason
    }
}

// ===== impl Triggers =====

impl Triggers {
    pub(super) fn new() -> Self {
        let statuses = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        Self { statuses: bits_of(statuses), errors: true, rate_limited: false, unsafe_methods: false }
    }

    pub(super) fn set_statuses(&mut self, statuses: impl IntoIterator<Item = StatusCode>) {
        self.statuses = bits_of(statuses);
    }

    /// Whether there is an answer for requests with this method. RFC 9110 §9.2.1: a method that is not safe asks for a
    /// change, and a stopgap would confirm one that was not made.
    #[inline]
    pub(super) fn includes(&self, method: &Method) -> bool {
        method.is_safe() || self.unsafe_methods
    }

    /// Why this response should not be the answer; `None` for all that should, and for every 4xx that is not our own.
    #[inline]
    pub(super) fn judge<B>(&self, response: &Response<B>) -> Option<Reason> {
        let status = response.status();
        // A mark makes extensions, so that most answers are told apart by their status alone.
        if !status.is_server_error() && response.extensions().is_empty() {
            return None;
        }
        self.judge_closely(status, response.headers(), response.extensions().get().copied())
    }

    pub(super) fn judge_closely(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        refusal: Option<Refusal>,
    ) -> Option<Reason> {
        match refusal {
            Some(refusal) if self.is_ours_to_replace(status, headers, refusal) => Some(Reason::Refused(refusal)),
            Some(_) => None,
            None => self.has(status).then_some(Reason::Status(status)),
        }
    }

    /// Of our own refusals those that say that the service cannot, not those that find fault with the request.
    fn is_ours_to_replace(&self, status: StatusCode, headers: &HeaderMap, refusal: Refusal) -> bool {
        if refusal.error_type() == "rate_limited" {
            return self.rate_limited;
        }
        says_cannot(status, headers)
    }

    fn has(&self, status: StatusCode) -> bool {
        place_of(status).is_some_and(|(word, bit)| self.statuses[word] & bit != 0)
    }
}

/// Whether this says that a service cannot. gRPC tells it in a field, with the status 200.
pub(super) fn says_cannot(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_server_error()
        || matches!(GrpcStatus::of(headers), Some(GrpcStatus::UNAVAILABLE | GrpcStatus::DEADLINE_EXCEEDED))
}

fn bits_of(statuses: impl IntoIterator<Item = StatusCode>) -> [u64; 2] {
    let mut bits = [0; 2];
    for status in statuses {
        let (word, bit) = place_of(status).expect("a fallback stands in for 5xx only: a 4xx is the client's to see");
        bits[word] |= bit;
    }
    bits
}

fn place_of(status: StatusCode) -> Option<(usize, u64)> {
    let above = usize::from(status.as_u16().checked_sub(500).filter(|above| *above < 100)?);
    Some((above / 64, 1 << (above % 64)))
}
