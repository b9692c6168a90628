//! What a breaker tells whoever watches it.

use super::{
    breaker::{Mode, State},
    outcome::Outcome,
    refusal::Refused,
};
use bartizan_store::Key;
use std::time::Duration;

/// What a breaker did, for [`Breaker::observe`](super::Breaker::observe).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It has changed its state or its mode. Two changes in a row may be told by two threads, and so in any order: how it
    /// stands in the end, [`Breaker::state`](super::Breaker::state) tells.
    Changed(&'a Transition),
    /// A call has ended.
    Judged(&'a Judged),
    /// A call was refused.
    Refused(&'a Refused),
    /// In shadow mode: a call was let through that would have been refused.
    WouldRefuse(&'a Refused),
}

/// From what to what, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// Whose breaker it is, if there is one for each key.
    pub key: Option<Key>,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// The mode that it is in.
    pub mode: Mode,
    /// Why.
    pub cause: Cause,
}

/// Why a breaker changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// So many calls failed one after the other.
    ConsecutiveFailures,
    /// Too large a share of the window failed.
    FailureRate,
    /// Too large a share of the window was slow.
    SlowCalls,
    /// The service asked to be left alone, with `Retry-After`, and not only once.
    RetryAfter,
    /// It was open for as long as it should.
    OpenTimeOver,
    /// The probes have shown how the service does.
    Probes,
    /// Somebody asked for it.
    Forced,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judged {
    /// Whose breaker it is, if there is one for each key.
    pub key: Option<Key>,
    /// What it says about the service.
    pub outcome: Outcome,
    /// Whether its head took too long to come, where slow calls count.
    pub slow: bool,
    /// Whether it was a probe.
    pub probe: bool,
    /// Whether the breaker has changed its state meanwhile, so that the outcome changes nothing.
    pub late: bool,
    /// For how long the service asks to be left alone.
    pub retry_after: Option<Duration>,
}
