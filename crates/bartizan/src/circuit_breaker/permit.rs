//! What an admitted call holds until it has ended.

use super::{
    core::{Ended, Handle},
    machine::Nanos,
    outcome::{Outcome, Told},
};
use crate::shared::{End, GrpcStatus, Watch, retry_after, wall_now};
use http::HeaderMap;
use std::{fmt, sync::Arc, time::Duration};

/// Permission for one call, which tells the breaker how the call went: at the end of the response's body.
///
/// It gives itself back when it is dropped. A call that is given up before its head has come says nothing, unless it
/// had taken as long as a slow call by then, or panics: then it has failed. A body that is let go of counts by its head.
pub struct Permit {
    handle: Arc<Handle>,
    started: Nanos,
    epoch: u32,
    stage: Stage,
    flags: u8,
}

/// How far the call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its head has not come.
    Called,
    /// Its head was a good one; the body is on its way.
    Answered,
    /// It is known how it went.
    Ended(Outcome),
    /// The breaker knows.
    Settled,
}

const PROBE: u8 = 1;
const SLOW: u8 = 2;
/// The body has begun.
const MOVED: u8 = 4;
/// The status is in the trailers, which have not come.
const NO_STATUS: u8 = 8;

// ===== impl Permit =====

impl Permit {
    #[inline]
    pub(super) fn new(handle: Arc<Handle>, epoch: u32, probe: bool, started: Nanos) -> Self {
        Self { handle, started, epoch, stage: Stage::Called, flags: if probe { PROBE } else { 0 } }
    }

    /// The head has come. A good one is worth as much as its body, so the permit goes on with that. Whatever else a
    /// head says is said.
    #[inline]
    pub(super) fn answered(mut self, told: Told, headers: &HeaderMap) -> Option<Self> {
        if told.outcome != Outcome::Success {
            self.settle(told.outcome, retry_after(headers, wall_now));
            return None;
        }
        self.stage = Stage::Answered;
        if self.handle.0.is_slow(self.started) {
            self.flags |= SLOW;
        }
        if told.trailers_tell {
            self.flags |= NO_STATUS;
        }
        Some(self)
    }

    /// All is known that there is to know.
    #[inline(never)]
    pub(super) fn settle(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if self.handle.0.is_slow(self.started) {
            self.flags |= SLOW;
        }
        self.tell(outcome, retry_after);
    }

    #[inline]
    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.stage = Stage::Settled;
        let (probe, slow) = (self.is(PROBE), self.is(SLOW));
        self.handle.0.settle(Ended { epoch: self.epoch, probe, slow, outcome, retry_after });
    }

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What a call comes to that nobody waits for any more.
    #[inline(never)]
    fn given_up(&mut self) -> Outcome {
        if std::thread::panicking() {
            return Outcome::Failure;
        }
        // Whoever has waited for too long has left because of that.
        if !self.is(MOVED) && self.handle.0.is_slow(self.started) {
            self.flags |= SLOW;
            return Outcome::Failure;
        }
        if self.stage == Stage::Called { Outcome::Ignored } else { Outcome::Success }
    }
}

impl Watch for Permit {
    #[inline]
    fn data(&mut self, _: usize) {
        self.flags |= MOVED;
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(status) = GrpcStatus::of(trailers) {
            self.stage = Stage::Ended(Outcome::of_grpc(status));
        }
    }

    #[inline]
    fn end(mut self, end: End) {
        match (end, self.stage) {
            (End::Complete, Stage::Answered) if self.is(NO_STATUS) => self.stage = Stage::Ended(Outcome::Failure),
            (End::Complete, Stage::Answered) => self.stage = Stage::Ended(Outcome::Success),
            (End::Failed, Stage::Answered | Stage::Called) => self.stage = Stage::Ended(Outcome::Failure),
            _ => {}
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        let outcome = match self.stage {
            Stage::Settled => return,
            Stage::Ended(outcome) => outcome,
            Stage::Called | Stage::Answered => self.given_up(),
        };
        self.tell(outcome, None);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("stage", &self.stage).field("probe", &self.is(PROBE)).finish_non_exhaustive()
    }
}
