//! What an admitted call holds until it has ended.

use super::{
    core::{Ended, Handle},
    machine::Nanos,
    outcome::{Outcome, Told},
};
use crate::shared::{GrpcStatus, retry_after, wall_now};
use http::HeaderMap;
use std::{fmt, mem, sync::Arc, time::Duration};

/// Permission for one call, which tells the breaker how the call went: at the end of the response's body.
///
/// It gives itself back when it is dropped. A call that is given up before its head has come says nothing, unless it
/// had taken as long as a slow call by then: then it has failed. A body that is let go of counts by its head.
pub(super) struct Permit {
    handle: Arc<Handle>,
    started: Nanos,
    epoch: u32,
    stage: Stage,
    flags: u8,
}

/// Says while the service is at work that it has failed if it panics. A panic of the caller says nothing.
pub(super) struct Blame<'a>(&'a mut Option<Permit>);

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
/// The status is in the trailers, which have not come.
const NO_STATUS: u8 = 4;
/// The breaker knows that this probe has begun well.
const ANSWERED: u8 = 8;

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
            let failed = told.out_of_time && self.handle.0.is_slow(self.started);
            let outcome = if failed { Outcome::Failure } else { told.outcome };
            self.settle(outcome, retry_after(headers, wall_now));
            return None;
        }
        if told.trailers_tell {
            self.begun();
            self.flags |= NO_STATUS;
        } else {
            self.answered_well();
        }
        Some(self)
    }

    /// A good head has come, and it is one of HTTP alone.
    #[inline]
    pub(super) fn answered_well(&mut self) {
        self.begun();
        self.handle.0.end_series(self.epoch);
        if self.flags == PROBE {
            self.is_well();
        }
    }

    #[inline]
    fn begun(&mut self) {
        self.stage = Stage::Answered;
        if self.handle.0.is_slow(self.started) {
            self.flags |= SLOW;
        }
    }

    /// So far, the service does well by this probe.
    #[inline(never)]
    fn is_well(&mut self) {
        self.flags |= ANSWERED;
        self.handle.0.answer_probe(self.epoch);
    }

    /// All is known that there is to know.
    #[inline(never)]
    pub(super) fn settle(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if self.handle.0.is_slow(self.started) {
            self.flags |= SLOW;
        }
        self.tell(outcome, retry_after);
    }

    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.stage = Stage::Settled;
        let (probe, slow, answered) = (self.is(PROBE), self.is(SLOW), self.is(ANSWERED));
        self.handle.0.settle(Ended { epoch: self.epoch, probe, answered, slow, outcome, retry_after });
    }

    /// Some of the body has come.
    #[inline]
    pub(super) fn data(&mut self) {
        if self.flags == PROBE | NO_STATUS && self.stage == Stage::Answered {
            self.is_well();
        }
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(status) = GrpcStatus::of(trailers) {
            self.stage = Stage::Ended(Outcome::of_grpc(status));
        }
    }

    /// The body breaks off. That is a failure, unless its trailers have told how the call went.
    pub(super) fn broken(&mut self) {
        if self.stage == Stage::Answered {
            self.stage = Stage::Ended(Outcome::Failure);
        }
    }

    /// The body has ended.
    #[inline]
    pub(super) fn end(mut self) {
        if self.stage == Stage::Answered && self.flags == 0 {
            self.stage = Stage::Settled;
            return self.handle.0.settle_well(self.epoch);
        }
        self.end_otherwise();
    }

    /// It was slow, or a probe, or told us how it went in its trailers, or should have.
    #[inline(never)]
    fn end_otherwise(&mut self) {
        let outcome = match self.stage {
            Stage::Ended(outcome) => outcome,
            _ if self.is(NO_STATUS) => Outcome::Failure,
            _ => Outcome::Success,
        };
        self.tell(outcome, None);
    }

    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Nobody waits for the call any more.
    #[inline(never)]
    fn let_go(&mut self) {
        let outcome = match self.stage {
            Stage::Ended(outcome) => outcome,
            // Whoever has waited for too long has left because of that.
            Stage::Called if self.handle.0.is_slow(self.started) => {
                self.flags |= SLOW;
                Outcome::Failure
            }
            Stage::Called => Outcome::Ignored,
            Stage::Answered | Stage::Settled => Outcome::Success,
        };
        self.tell(outcome, None);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.stage != Stage::Settled {
            self.let_go();
        }
    }
}

// ===== impl Blame =====

impl<'a> Blame<'a> {
    #[inline]
    pub(super) fn on_panic(permit: &'a mut Option<Permit>) -> Self {
        Self(permit)
    }

    /// It did not panic.
    #[inline]
    #[allow(clippy::mem_forget, reason = "it holds a reference, and nothing else")]
    pub(super) fn over(self) {
        mem::forget(self);
    }
}

impl Drop for Blame<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.settle(Outcome::Failure, None);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("stage", &self.stage).field("probe", &self.is(PROBE)).finish_non_exhaustive()
    }
}
