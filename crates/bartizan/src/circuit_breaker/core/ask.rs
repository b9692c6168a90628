//! Who may pass.

use super::Core;
use crate::{
    circuit_breaker::{
        breaker::Mode,
        control::{CLOSED, DISABLED, FORCED_CLOSED, FORCED_OPEN, OPEN, SHADOW, epoch_of, gate_of},
        event::Event,
        machine::{Admission, Nanos, Phase, nanos},
        permit::Pass,
        refusal::Refused,
        totals::lane,
    },
    shared::sync::atomic::Ordering::Acquire,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a permit holds of a breaker. There are several, so that threads which count their permits don't wait for each
/// other's cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(in crate::circuit_breaker) struct Handle(pub(in crate::circuit_breaker) Arc<Core>);

/// What becomes of a call.
#[derive(Debug)]
pub(in crate::circuit_breaker) enum Asked {
    Pass(Pass),
    /// It passes, and nobody wants to know how it went.
    PassUncounted,
    /// It makes sense to come back after so long.
    Refuse(Nanos),
    /// It passes, and would be refused if this weren't a shadow.
    WouldRefuse(Nanos),
}

// ===== impl Core =====

impl Core {
    /// Whether a call would pass now; if not, at what instant it is worth asking again.
    pub(in crate::circuit_breaker) fn would_pass(&self) -> Result<(), Instant> {
        let word = self.word.load(Acquire);
        if gate_of(word) == CLOSED || word & SHADOW != 0 {
            return Ok(());
        }
        let now = self.now();
        let at = |nanos| self.birth + Duration::from_nanos(nanos);
        self.change(None, |control, policy, dice| match control.mode {
            Mode::ForcedOpen => Err(at(now.saturating_add(nanos(policy.longest)))),
            Mode::ForcedClosed | Mode::Disabled => Ok(()),
            Mode::Normal | Mode::Shadow => {
                control.step(|machine| machine.pass_time(policy, now, dice));
                match control.machine.phase {
                    Phase::Open { until } => Err(at(until)),
                    Phase::HalfOpen { until, probes } if probes.taken() >= policy.probes => Err(at(until)),
                    Phase::Closed { .. } | Phase::HalfOpen { .. } => Ok(()),
                }
            }
        })
    }

    /// Refuses a call if the breaker is simply open, which changes nothing in it.
    #[inline(never)]
    pub(in crate::circuit_breaker) fn refuse_if_open(&self) -> Option<Nanos> {
        let word = self.word.load(Acquire);
        if gate_of(word) != OPEN || word & SHADOW != 0 {
            return None;
        }
        let after = self.until.load(Acquire).checked_sub(self.now()).filter(|after| *after > 0)?;
        self.refuse(after);
        Some(after)
    }

    pub(in crate::circuit_breaker) fn refuse(&self, after: Nanos) {
        self.count_refused();
        self.tell(|observe| observe(&Event::Refused(&self.refused(after))));
    }

    pub(in crate::circuit_breaker) fn refused(&self, after: Nanos) -> Refused {
        Refused { key: self.key, state: self.state(), after }
    }

    pub(in crate::circuit_breaker) fn count_refused(&self) {
        self.totals.count_refused(lane());
    }

    /// The time since the breaker was made, as calls need it for what is slow; 0 where they don't.
    #[inline]
    pub(in crate::circuit_breaker) fn start(&self) -> Nanos {
        if self.slow.is_some() { self.now() } else { 0 }
    }
}

// ===== impl Handle =====

impl Handle {
    pub(in crate::circuit_breaker) fn new(core: &Arc<Core>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(core)))
    }

    /// Leave to call, if the breaker is simply closed, as it mostly is.
    #[inline]
    pub(in crate::circuit_breaker) fn pass(&self) -> Option<Pass> {
        let core = &*self.0;
        let word = core.word.load(Acquire);
        let is_closed = gate_of(word) == CLOSED && word & SHADOW == 0;
        is_closed.then(|| Pass::new(epoch_of(word), false, core.start()))
    }

    /// Asks for a call to pass. `gate` spares it the ramp.
    pub(in crate::circuit_breaker) fn ask(&self, gate: bool) -> Asked {
        if let Some(pass) = self.pass() {
            return Asked::Pass(pass);
        }
        let core = &*self.0;
        let (word, now) = (core.word.load(Acquire), core.now());
        let refuse = |after| if word & SHADOW == 0 { Asked::Refuse(after) } else { Asked::WouldRefuse(after) };
        let pass = |epoch, probe| Asked::Pass(Pass::new(epoch, probe, now));
        match gate_of(word) {
            CLOSED | FORCED_CLOSED => return pass(epoch_of(word), false),
            DISABLED => return Asked::PassUncounted,
            FORCED_OPEN => return refuse(nanos(core.policy.open)),
            OPEN => {
                let until = core.until.load(Acquire);
                if now < until {
                    return refuse(until - now);
                }
            }
            _ => {}
        }
        let (admission, epoch) = core.change(None, |control, policy, dice| {
            let admission = match control.mode {
                Mode::Normal | Mode::Shadow => control.step(|machine| machine.admit(policy, now, gate, dice)),
                Mode::ForcedOpen => Admission::Refuse(nanos(policy.open)),
                Mode::ForcedClosed | Mode::Disabled => Admission::Pass,
            };
            (admission, control.epoch)
        });
        match admission {
            Admission::Pass => pass(epoch, false),
            Admission::Probe => pass(epoch, true),
            Admission::Refuse(after) => refuse(after),
        }
    }
}
