//! How calls went.

use super::Core;
use crate::{
    circuit_breaker::{
        breaker::Mode,
        control::{FORCED_CLOSED, epoch_of, gate_of},
        event::{Event, Judged},
        machine::{Nanos, Probed, nanos},
        outcome::Outcome,
        series::{Failed, Length},
        totals::lane,
        window::{Mark, WHOLE_FAILURE},
    },
    shared::sync::atomic::Ordering::Acquire,
};
use std::time::Duration;

/// How a call went, and in which epoch it began.
#[derive(Clone, Copy, Debug)]
pub(in crate::circuit_breaker) struct Ended {
    pub(in crate::circuit_breaker) epoch: u32,
    pub(in crate::circuit_breaker) probe: bool,
    /// Whether [`Core::answer_probe`] was told.
    pub(in crate::circuit_breaker) answered: bool,
    /// Whether a good head had come.
    pub(in crate::circuit_breaker) in_body: bool,
    pub(in crate::circuit_breaker) slow: bool,
    pub(in crate::circuit_breaker) outcome: Outcome,
    pub(in crate::circuit_breaker) retry_after: Option<Duration>,
}

// ===== impl Core =====

impl Core {
    /// Takes note of a call that went well and was not slow, nor a probe: the way of most.
    #[inline]
    pub(in crate::circuit_breaker) fn settle_well(&self, epoch: u32) {
        if epoch_of(self.word.load(Acquire)) != epoch || self.observe.is_some() {
            let outcome = Outcome::Success;
            return self.settle(Ended {
                epoch,
                probe: false,
                answered: false,
                in_body: true,
                slow: false,
                outcome,
                retry_after: None,
            });
        }
        let lane = lane();
        self.totals.count(lane, Outcome::Success, false);
        self.count_well(epoch, lane);
    }

    /// Takes note of how a call went. One of another epoch changes nothing.
    #[inline(never)]
    pub(in crate::circuit_breaker) fn settle(&self, ended: Ended) {
        let lane = lane();
        let word = self.word.load(Acquire);
        let late = epoch_of(word) != ended.epoch;
        self.totals.count(lane, ended.outcome, late);
        if !late {
            match ended.outcome {
                _ if ended.probe => self.settle_probe(ended),
                Outcome::Ignored => {}
                Outcome::Success if !ended.slow => self.count_well(ended.epoch, lane),
                _ => self.settle_badly(ended, gate_of(word) == FORCED_CLOSED),
            }
        }
        if self.observe.is_some() {
            self.tell_judged(ended, late);
        }
    }

    #[inline]
    fn count_well(&self, epoch: u32, lane: usize) {
        self.window.add(epoch, lane, Mark { failed: 0, slow: false }, || self.now());
        self.series.end(epoch);
    }

    #[inline(never)]
    fn settle_badly(&self, ended: Ended, forced: bool) {
        let now = self.now();
        let failed = match ended.outcome {
            Outcome::Failure => WHOLE_FAILURE,
            Outcome::SoftFailure(weight) => weight.get(),
            Outcome::Success | Outcome::Ignored => 0,
        };
        self.window.add(ended.epoch, lane(), Mark { failed, slow: ended.slow }, || now);
        let wait = self.wait(ended);
        let series = match ended.outcome {
            Outcome::Failure if ended.in_body => self.series.lengthen(ended.epoch, Failed::InBody),
            Outcome::Failure => self.series.lengthen(ended.epoch, Failed::AtHead { told_to_wait: wait > 0 }),
            Outcome::Success => {
                self.series.end(ended.epoch);
                Length::default()
            }
            Outcome::SoftFailure(_) | Outcome::Ignored => self.series.length(ended.epoch),
        };
        let tally = self.window.tally(ended.epoch, now);
        let Some(cause) = self.policy.trips(series, tally) else { return };
        if forced {
            return;
        }
        self.change(Some(cause), |control, policy, dice| {
            if control.epoch == ended.epoch && matches!(control.mode, Mode::Normal | Mode::Shadow) {
                control.step(|machine| machine.trip(policy, now, wait, dice));
            }
        });
    }

    /// For how long a failure asks to be left alone. What is no failure may be the limit of one client.
    fn wait(&self, ended: Ended) -> Nanos {
        let wait = ended.retry_after.filter(|_| ended.outcome == Outcome::Failure).unwrap_or_default();
        nanos(wait.min(self.policy.longest_retry_after))
    }

    /// A good head has come whose status is no other than this. Its body may take for ever.
    #[inline]
    pub(in crate::circuit_breaker) fn answer(&self, epoch: u32) {
        self.series.answer(epoch);
    }

    /// A probe has begun well. Whether it goes on like that, [`settle`](Self::settle) tells.
    #[inline(never)]
    pub(in crate::circuit_breaker) fn answer_probe(&self, epoch: u32) {
        let now = self.now();
        self.change(None, |control, policy, dice| {
            if control.epoch == epoch {
                control.step(|machine| machine.answered(policy, now, dice));
            }
        });
    }

    #[inline(never)]
    fn settle_probe(&self, ended: Ended) {
        let now = self.now();
        let probed = match ended.outcome {
            Outcome::Success if !ended.slow => Probed::Well,
            Outcome::Ignored => Probed::Nothing,
            Outcome::Success | Outcome::Failure | Outcome::SoftFailure(_) => Probed::Badly(self.wait(ended)),
        };
        self.change(None, |control, policy, dice| {
            if control.epoch == ended.epoch {
                control.step(|machine| machine.probed(policy, now, ended.answered, probed, dice));
            }
        });
        if probed == Probed::Nothing {
            // For whoever waits for the place.
            self.states.get().inspect(|states| states.send_modify(|_| {}));
        }
    }

    /// Whether a call that began then takes too long.
    #[inline]
    pub(in crate::circuit_breaker) fn is_slow(&self, started: Nanos) -> bool {
        self.slow.is_some_and(|slow| self.now().saturating_sub(started) >= slow)
    }

    #[inline(never)]
    fn tell_judged(&self, ended: Ended, late: bool) {
        let Ended { probe, slow, outcome, retry_after, .. } = ended;
        let key = self.key;
        self.tell(|observe| observe(&Event::Judged(&Judged { key, outcome, slow, probe, late, retry_after })));
    }
}
