//! What an admitted call holds until it has ended.

use super::{
    core::{Ended, Handle},
    machine::Nanos,
    outcome::{Outcome, Told, Weight},
};
use crate::shared::{GrpcStatus, retry_after, wall_now};
use http::HeaderMap;
use std::{fmt, mem, sync::Arc, time::Duration};

/// Leave to call. Nobody holds it as yet, so that it is only a number on its way to who does.
#[derive(Clone, Copy, Debug)]
#[must_use = "it may be the place of a probe, and a permit gives that back"]
pub(super) struct Pass {
    bits: u64,
    started: Nanos,
}

/// A call whose head has not come.
///
/// If it is given up, that says nothing, unless it had taken as long as a slow call by then: then it has failed.
#[derive(Debug)]
pub(super) struct Call {
    /// `None` when nobody wants to know how the call goes.
    permit: Option<Permit>,
    started: Nanos,
}

/// Permission for one call, which tells the breaker how the call went: at the end of the response's body.
///
/// It gives itself back when it is dropped. A body that is let go of counts by its head; without one, see [`Call`].
///
/// Two words, so that it moves in two registers: it goes with a response, wherever that goes.
pub(super) struct Permit {
    handle: Arc<Handle>,
    /// `epoch:32 | known:8 | flags:8`.
    bits: u64,
}

/// Says while the service is at work that it has failed if it panics. A panic of the caller says nothing.
pub(super) enum Blame<'a> {
    Unheld(&'a Arc<Handle>, Pass),
    Held(&'a mut Option<Permit>, Nanos),
}

const PROBE: u64 = 1;
const SLOW: u64 = 1 << 1;
/// The status is in the trailers, which have not come.
const NO_STATUS: u64 = 1 << 2;
/// The breaker knows that this probe has begun well.
const PROBE_IS_WELL: u64 = 1 << 3;
/// The head was a good one; the body is on its way.
const ANSWERED: u64 = 1 << 4;
/// The breaker knows how the call went.
const SETTLED: u64 = 1 << 5;
/// How the call went, if it is known: 0 if it isn't.
const KNOWN: u32 = 8;
const EPOCH: u32 = 32;
/// Without the epoch.
const STAGE: u64 = (1 << EPOCH) - 1;
/// So early that no call is slow that is still to be judged: what began it, and when, is of the past.
const JUDGED: Nanos = Nanos::MAX;

// ===== impl Pass =====

impl Pass {
    #[inline]
    pub(super) fn new(epoch: u32, probe: bool, started: Nanos) -> Self {
        Self { bits: u64::from(epoch) << EPOCH | if probe { PROBE } else { 0 }, started }
    }

    #[inline]
    pub(super) fn blame(self, handle: &Arc<Handle>) -> Blame<'_> {
        Blame::Unheld(handle, self)
    }

    #[inline]
    pub(super) fn permit(self, handle: &Arc<Handle>) -> Permit {
        Permit { handle: Arc::clone(handle), bits: self.bits }
    }

    #[inline]
    pub(super) fn call(self, handle: &Arc<Handle>) -> Call {
        Call { permit: Some(self.permit(handle)), started: self.started }
    }
}

// ===== impl Call =====

impl Call {
    /// Of which nobody wants to know how it goes.
    pub(super) const UNCOUNTED: Self = Self { permit: None, started: JUDGED };

    #[inline]
    pub(super) fn blame(&mut self) -> Blame<'_> {
        Blame::Held(&mut self.permit, self.started)
    }

    /// A good head has come, of HTTP alone: the permit goes on with the body. `None` if it is that of a probe, for which
    /// there is more to do.
    #[inline]
    pub(super) fn answered_well(&mut self) -> Option<Permit> {
        let permit = self.permit.as_mut()?;
        if permit.is(PROBE) {
            return None;
        }
        permit.look_at_time(self.started);
        permit.bits |= ANSWERED;
        permit.handle.0.answer(permit.epoch());
        self.permit.take()
    }

    /// The head has come, or an error, or nobody waits for it any more.
    #[inline]
    pub(super) fn over(&mut self) -> Option<Permit> {
        let mut permit = self.permit.take()?;
        permit.look_at_time(self.started);
        Some(permit)
    }
}

impl Drop for Call {
    #[inline]
    fn drop(&mut self) {
        if self.permit.is_some() {
            drop(self.over());
        }
    }
}

// ===== impl Permit =====

impl Permit {
    #[inline]
    fn look_at_time(&mut self, started: Nanos) {
        if self.handle.0.is_slow(started) {
            self.bits |= SLOW;
        }
    }

    /// The head has come. A good one is worth as much as its body, so the permit goes on with that. Whatever else a
    /// head says is said.
    pub(super) fn answered(mut self, told: Told, headers: &HeaderMap) -> Option<Self> {
        if told.outcome != Outcome::Success {
            let failed = told.out_of_time && self.is(SLOW);
            let outcome = if failed { Outcome::Failure } else { told.outcome };
            self.settle(outcome, retry_after(headers, wall_now));
            return None;
        }
        self.bits |= ANSWERED;
        if told.trailers_tell {
            self.bits |= NO_STATUS;
        } else {
            self.handle.0.answer(self.epoch());
            if self.bits & STAGE == PROBE | ANSWERED {
                self.is_well();
            }
        }
        Some(self)
    }

    /// So far, the service does well by this probe.
    #[inline(never)]
    fn is_well(&mut self) {
        self.bits |= PROBE_IS_WELL;
        self.handle.0.answer_probe(self.epoch());
    }

    /// All is known that there is to know.
    #[inline(never)]
    pub(super) fn settle(mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.tell(outcome, retry_after);
    }

    fn tell(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        self.bits |= SETTLED;
        let (probe, slow, answered) = (self.is(PROBE), self.is(SLOW), self.is(PROBE_IS_WELL));
        let (epoch, in_body) = (self.epoch(), self.is(ANSWERED));
        self.handle.0.settle(Ended { epoch, probe, answered, in_body, slow, outcome, retry_after });
    }

    /// Some of the body has come.
    #[inline]
    pub(super) fn data(&mut self) {
        if self.bits & STAGE == PROBE | NO_STATUS | ANSWERED {
            self.is_well();
        }
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(status) = GrpcStatus::of(trailers) {
            self.is_known(Outcome::of_grpc(status));
        }
    }

    /// The body breaks off. That is a failure, unless its trailers have told how the call went.
    pub(super) fn broken(&mut self) {
        if self.known().is_none() {
            self.is_known(Outcome::Failure);
        }
    }

    /// The body has ended.
    #[inline]
    pub(super) fn end(mut self) {
        if self.bits & STAGE == ANSWERED {
            self.bits |= SETTLED;
            self.handle.0.settle_well(self.epoch());
        } else {
            self.end_otherwise();
        }
    }

    /// It was slow, or a probe, or told us how it went in its trailers, or should have.
    #[inline(never)]
    fn end_otherwise(&mut self) {
        let missing = if self.is(NO_STATUS) { Outcome::Failure } else { Outcome::Success };
        self.tell(self.known().unwrap_or(missing), None);
    }

    /// Nobody waits for the call any more.
    #[inline(never)]
    fn let_go(&mut self) {
        let outcome = match self.known() {
            Some(outcome) => outcome,
            None if self.is(ANSWERED) => Outcome::Success,
            // Whoever has waited for too long has left because of that.
            None if self.is(SLOW) => Outcome::Failure,
            None => Outcome::Ignored,
        };
        self.tell(outcome, None);
    }

    fn is_known(&mut self, outcome: Outcome) {
        let known = match outcome {
            Outcome::Success => 1,
            Outcome::Failure => 2,
            Outcome::Ignored => 3,
            Outcome::SoftFailure(weight) => 3 + u64::from(weight.get()),
        };
        self.bits = self.bits & !(0xff << KNOWN) | known << KNOWN;
    }

    fn known(&self) -> Option<Outcome> {
        match u8::try_from(self.bits >> KNOWN & 0xff).unwrap_or_default() {
            0 => None,
            1 => Some(Outcome::Success),
            2 => Some(Outcome::Failure),
            3 => Some(Outcome::Ignored),
            weight => Some(Outcome::SoftFailure(Weight::percent(weight - 3))),
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the epoch is the upper half")]
    fn epoch(&self) -> u32 {
        (self.bits >> EPOCH) as u32
    }

    fn is(&self, flag: u64) -> bool {
        self.bits & flag != 0
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if !self.is(SETTLED) {
            self.let_go();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("answered", &self.is(ANSWERED))
            .field("probe", &self.is(PROBE))
            .finish_non_exhaustive()
    }
}

// ===== impl Blame =====

impl<'a> Blame<'a> {
    /// For the body of an answer.
    #[inline]
    pub(super) fn of_body(permit: &'a mut Option<Permit>) -> Self {
        Self::Held(permit, JUDGED)
    }

    /// It did not panic.
    #[inline]
    #[allow(clippy::mem_forget, reason = "it holds a reference, and nothing else")]
    pub(super) fn over(self) {
        mem::forget(self);
    }
}

impl Drop for Blame<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        let (permit, started) = match self {
            Self::Unheld(handle, pass) => (Some(pass.permit(handle)), pass.started),
            Self::Held(permit, started) => (permit.take(), *started),
        };
        if let Some(mut permit) = permit {
            permit.look_at_time(started);
            permit.settle(Outcome::Failure, None);
        }
    }
}
