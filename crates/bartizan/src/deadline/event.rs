//! What the deadline's layers tell whoever watches them.

use std::time::Duration;

/// What happened to the deadline of a request, for `observe` of both layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request came in, and has this long.
    Set(Duration),
    /// A trusted sender told what is no length of time. That line was ignored; what became of the request follows.
    Malformed,
    /// A request went out, and its receiver was told this.
    Told(Duration),
    /// The deadline had passed: the request went no further.
    Refused,
}
