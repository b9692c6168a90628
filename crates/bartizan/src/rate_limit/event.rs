//! What a limiter tells whoever watches it.

use super::refusal::Refused;
use bartizan_store::{Decision, Unavailable};
use std::time::Duration;

/// What a limiter did, for [`RateLimitLayer::observe`](super::RateLimitLayer::observe).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request was admitted and charged.
    Admitted(&'a Decision),
    /// A request was refused.
    Refused(&'a Refused),
    /// In shadow mode: a request was let through that would have been refused.
    WouldRefuse(&'a Refused),
    /// A request was exempt, or no policy applied to it.
    Exempt,
    /// A request waited this long for its turn; what became of it follows.
    Waited(Duration),
    /// The store did not answer.
    Unavailable(&'a Unavailable),
}
