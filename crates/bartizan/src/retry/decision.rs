//! Whether there is another attempt, and when.

use super::{
    backoff::{between, nanos},
    event::{GaveUp, Reason},
    failure::Failure,
    policy::RetryPolicy,
    told::Told,
};
use std::time::Duration;

/// An attempt that has failed: how, and what the server says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) reason: Reason,
    pub(super) failure: Failure,
    /// There was too much of us.
    pub(super) throttled: bool,
    pub(super) told: Told,
}

/// How the request stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Which attempt has failed, the first being 1.
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    /// It may reach the service twice.
    pub(super) repeatable: bool,
    /// Its body can be sent once more.
    pub(super) replayable: bool,
    /// The time until its deadline.
    pub(super) left: Option<Duration>,
    /// How long an attempt takes, as a rule. Nobody asks unless there is a deadline.
    pub(super) expected: Duration,
    /// The pause before this attempt.
    pub(super) last_pause: Duration,
    /// Any number.
    pub(super) dice: u64,
}

/// Whether there is another attempt after this pause, the budget aside; or why not.
///
/// What no wait can change comes first, so that whoever watches learns the reason that lies deepest.
pub(super) fn decide(policy: &RetryPolicy, failed: &Failed, standing: &Standing) -> Result<Duration, GaveUp> {
    match failed.failure {
        Failure::Final => return Err(GaveUp::Final),
        Failure::Ambiguous if !standing.repeatable => return Err(GaveUp::NotRepeatable),
        Failure::Unprocessed if !standing.repeatable && !policy.unprocessed => return Err(GaveUp::NotRepeatable),
        Failure::Ambiguous | Failure::Unprocessed => {}
    }
    if standing.attempt >= standing.attempts {
        return Err(GaveUp::Attempts);
    }
    if !standing.replayable {
        return Err(GaveUp::NotReplayable);
    }
    let own = policy.backoff.pause(standing.attempt - 1, failed.throttled, standing.last_pause, standing.dice);
    let pause = match failed.told {
        Told::Never => return Err(GaveUp::Told),
        Told::Nothing => own,
        Told::After(told) if told > policy.longest_told => return Err(GaveUp::LongPause),
        Told::After(told) => later(told.max(own), standing.dice).min(policy.longest_told.max(own)),
    };
    match standing.left {
        Some(left) if pause.saturating_add(standing.expected) >= left => Err(GaveUp::Deadline),
        _ => Ok(pause),
    }
}

/// Up to a tenth later than was told: all who were told the same would come back together, and never earlier.
fn later(told: Duration, dice: u64) -> Duration {
    told.saturating_add(Duration::from_nanos(between(0, nanos(told) / 10, dice.rotate_left(32))))
}
