//! What is wrong with an upstream, and why a call to one brought no answer.

use crate::Cause;
use bartizan::{
    bridge::hyper_util::{failure as hyper_util_failure, outcome},
    circuit_breaker::Outcome,
    retry::Failure,
};
use hyper_util::client::legacy;
use std::{error::Error, fmt, iter::successors};

/// What is wrong with an upstream, before it has been called.
#[derive(Debug)]
pub struct UpstreamError {
    what: String,
}

/// Why a call to an upstream brought no answer at all.
#[derive(Debug)]
pub struct SendError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Client(legacy::Error),
    /// No upstream has the name that the request has in the place of a host.
    Unknown(String),
}

// ===== impl UpstreamError =====

impl UpstreamError {
    pub(super) fn new(upstream: &str, why: impl fmt::Display) -> Self {
        Self { what: format!("upstream {upstream:?}: {why}") }
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for UpstreamError {}

// ===== impl SendError =====

impl SendError {
    pub(super) fn unknown(name: &str) -> Self {
        Self { kind: Kind::Unknown(name.to_owned()) }
    }

    /// Whether an error says that a request named no upstream that there is, so that nothing was sent.
    pub(crate) fn names_none(error: &(dyn Error + 'static)) -> bool {
        let names_none = |error: &(dyn Error + 'static)| {
            error.downcast_ref().is_some_and(|Self { kind }| matches!(kind, Kind::Unknown(_)))
        };
        successors(Some(error), |&error| error.source()).any(names_none)
    }

    /// Why, in one word of few.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::of_send(self)
    }

    /// Whether the endpoint certainly has done nothing about the request, so that any method may be sent again: no
    /// connection came about, or it ended before the request was written, or the endpoint said so itself (HTTP/2's
    /// `REFUSED_STREAM`, or `GOAWAY` for a stream after the last one that it takes, RFC 9113 §8.7).
    #[must_use]
    pub fn is_not_processed(&self) -> bool {
        self.failure() == Failure::Unprocessed
    }

    /// What it says of the endpoint: nothing, if it is the body of the request that broke.
    pub(super) fn outcome(&self) -> Outcome {
        outcome(self.failure())
    }

    /// What it says of the request.
    pub(super) fn failure(&self) -> Failure {
        Failure::of(self, hyper_util_failure)
    }
}

impl From<legacy::Error> for SendError {
    fn from(error: legacy::Error) -> Self {
        Self { kind: Kind::Client(error) }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Client(_) => write!(f, "the endpoint could not be asked ({})", self.cause().as_str()),
            Kind::Unknown(name) => write!(f, "no upstream has the name {name:?}"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Client(error) => Some(error),
            Kind::Unknown(_) => None,
        }
    }
}
