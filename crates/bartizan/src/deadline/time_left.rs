//! How long a request still has.

use crate::shared::Deadline;
use std::time::Duration;
use tokio::time::Instant;

/// Nobody waits for the request any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed;

/// The deadline of a request that comes in: the earliest of the one that `stands` already, what its sender `told`, and
/// the `maximum`, which can be counted.
pub(super) fn coming_in(
    now: Instant,
    stands: Option<Deadline>,
    told: Option<Duration>,
    maximum: Duration,
) -> Result<Deadline, Passed> {
    let granted = Deadline::at(now + told.map_or(maximum, |told| told.min(maximum)));
    let deadline = stands.map_or(granted, |stands| stands.min(granted));
    if deadline.instant() > now { Ok(deadline) } else { Err(Passed) }
}

/// What a request that goes out still has at its receiver, if a `margin` is taken for the way there and back. Less than
/// a millisecond is nothing: it could not be told.
pub(super) fn going_out(now: Instant, deadline: Deadline, margin: Duration) -> Result<Duration, Passed> {
    let left = deadline.instant().saturating_duration_since(now).saturating_sub(margin);
    if left >= Duration::from_millis(1) { Ok(left) } else { Err(Passed) }
}
