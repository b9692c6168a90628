//! The states of a breaker and what leads from one to the next: plain values, without clock, lock or dice of their own.

use super::{
    event::Cause,
    policy::BreakerPolicy,
    series::Length,
    window::{Tally, WHOLE_FAILURE},
};

/// Nanoseconds since the breaker was made.
pub(super) type Nanos = u64;

pub(super) const SECOND: Nanos = 1_000_000_000;

/// Where a breaker stands, apart from what its window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) phase: Phase,
    /// How many times in a row it has opened without recovering in between.
    pub(super) opened: u32,
    /// How long it was open the last time.
    pub(super) lasted: Nanos,
}

/// What each state needs, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed { since: Nanos, ramp: Option<Ramp> },
    Open { until: Nanos },
    HalfOpen { until: Nanos, probes: Probes },
}

/// How the rising share of admitted calls is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ramp {
    second: u64,
    /// How many have asked in this second.
    asked: u64,
    /// What has been saved up towards the next admission, in parts of [`WHOLE`].
    saved: u64,
}

/// What the probes are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    pub(super) out: u32,
    /// Of those, how many have shown by a good beginning that the service is well.
    pub(super) answered: u32,
    pub(super) good: u32,
    pub(super) bad: u32,
    /// For how long a bad one has asked the service to be left alone.
    pub(super) wait: Nanos,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Pass,
    Probe,
    /// It makes sense to come back after so long.
    Refuse(Nanos),
}

/// How a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Well,
    /// The service is to be left alone for so long.
    Badly(Nanos),
    /// It says nothing, and another may take its place.
    Nothing,
}

const WHOLE: u64 = 1 << 16;
/// In each second of the ramp so many calls pass anyway: at low traffic there is nothing to protect.
const FREE: u64 = 5;

// ===== impl Machine =====

impl Machine {
    pub(super) const NEW: Self = Self { phase: Phase::Closed { since: 0, ramp: None }, opened: 0, lasted: 0 };

    /// Opens a closed breaker, for no less than `at_least`.
    pub(super) fn trip(&mut self, policy: &BreakerPolicy, now: Nanos, at_least: Nanos, dice: u32) {
        if matches!(self.phase, Phase::Closed { .. }) {
            // Whoever fails again before the ramp is over has not recovered.
            self.pass_time(policy, now, dice);
            self.open(policy, now, at_least, dice);
        }
    }

    /// Asks for a call to pass. `gate` spares it the ramp, of which a balancer has its own.
    pub(super) fn admit(&mut self, policy: &BreakerPolicy, now: Nanos, gate: bool, dice: u32) -> Admission {
        self.pass_time(policy, now, dice);
        match &mut self.phase {
            Phase::Closed { ramp: None, .. } => Admission::Pass,
            Phase::Closed { .. } if gate => Admission::Pass,
            Phase::Closed { since, ramp: Some(ramp) } => ramp.admit(now.saturating_sub(*since), nanos(policy.ramp)),
            Phase::Open { until } => Admission::Refuse(until.saturating_sub(now)),
            Phase::HalfOpen { probes, .. } if probes.taken() < policy.probes => {
                probes.out += 1;
                Admission::Probe
            }
            Phase::HalfOpen { .. } => Admission::Refuse(SECOND),
        }
    }

    /// Takes note that a probe has begun well. It may be a stream that never ends, so that at the end of the time this
    /// has to do.
    pub(super) fn answered(&mut self, policy: &BreakerPolicy, now: Nanos, dice: u32) {
        if let Phase::HalfOpen { probes, .. } = &mut self.phase {
            probes.answered += 1;
        }
        self.pass_time(policy, now, dice);
    }

    /// Takes note of how a probe went, which may have `answered` before. The verdict falls as soon as no further probe
    /// can change it.
    pub(super) fn probed(&mut self, policy: &BreakerPolicy, now: Nanos, answered: bool, probed: Probed, dice: u32) {
        let Phase::HalfOpen { probes, .. } = &mut self.phase else { return };
        probes.out = probes.out.saturating_sub(1);
        probes.answered = probes.answered.saturating_sub(u32::from(answered));
        match probed {
            Probed::Well => probes.good += 1,
            Probed::Badly(wait) => (probes.bad, probes.wait) = (probes.bad + 1, probes.wait.max(wait)),
            Probed::Nothing => {}
        }
        let Probes { good, bad, wait, .. } = *probes;
        if good >= policy.good_probes {
            self.close(policy, now);
        } else if bad > policy.probes - policy.good_probes {
            self.open(policy, now, wait, dice);
        } else {
            self.pass_time(policy, now, dice);
        }
    }

    /// What the mere passing of time leads to.
    pub(super) fn pass_time(&mut self, policy: &BreakerPolicy, now: Nanos, dice: u32) {
        match &mut self.phase {
            Phase::Closed { since, ramp } if now >= since.saturating_add(nanos(policy.ramp)) => {
                *ramp = None;
                self.opened = 0;
            }
            Phase::Open { until } if now >= *until => self.probe(policy, now),
            Phase::HalfOpen { until, probes } if now >= *until => match *probes {
                // Nobody came. That says nothing.
                probes if probes.taken() == 0 => self.probe(policy, now),
                Probes { good, answered, bad: 0, .. } if good + answered > 0 => self.close(policy, now),
                Probes { wait, .. } => self.open(policy, now, wait, dice),
            },
            Phase::Closed { .. } | Phase::Open { .. } | Phase::HalfOpen { .. } => {}
        }
    }

    /// Whether nothing is left of what happened: it is closed and has recovered, or nobody came for as long as probes
    /// would have had time.
    pub(super) fn is_over(&self, policy: &BreakerPolicy, now: Nanos) -> bool {
        match self.phase {
            Phase::Closed { since, ramp } => {
                (ramp.is_none() && self.opened == 0) || now >= since.saturating_add(nanos(policy.ramp))
            }
            Phase::Open { until } | Phase::HalfOpen { until, .. } => {
                now >= until.saturating_add(self.time_for_probes(policy))
            }
        }
    }

    /// Half-open, from now.
    fn probe(&mut self, policy: &BreakerPolicy, now: Nanos) {
        let until = now.saturating_add(self.time_for_probes(policy));
        self.phase = Phase::HalfOpen { until, probes: Probes::default() };
    }

    fn time_for_probes(&self, policy: &BreakerPolicy) -> Nanos {
        self.lasted.saturating_mul(u64::from(policy.half_open_factor))
    }

    fn open(&mut self, policy: &BreakerPolicy, now: Nanos, at_least: Nanos, dice: u32) {
        let doubled = nanos(policy.open).saturating_mul(1_u64.checked_shl(self.opened).unwrap_or(u64::MAX));
        let time = policy.jitter.spread(doubled.min(nanos(policy.longest)), dice);
        self.lasted = time.max(at_least.min(nanos(policy.longest_retry_after))).max(1);
        self.opened = self.opened.saturating_add(1);
        self.phase = Phase::Open { until: now.saturating_add(self.lasted) };
    }

    fn close(&mut self, policy: &BreakerPolicy, now: Nanos) {
        self.phase = Phase::Closed { since: now, ramp: Some(Ramp::default()) };
        self.pass_time(policy, now, 0); // there may be no ramp
    }
}

// ===== impl Ramp =====

impl Ramp {
    /// `elapsed` of `time` has passed since it began.
    fn admit(&mut self, elapsed: Nanos, time: Nanos) -> Admission {
        if self.second != elapsed / SECOND {
            (self.second, self.asked) = (elapsed / SECOND, 0);
        }
        self.asked += 1;
        if self.asked <= FREE {
            return Admission::Pass;
        }
        let tenth = u128::from(WHOLE / 10);
        let risen = (u128::from(WHOLE) - tenth) * u128::from(elapsed) / u128::from(time.max(1));
        self.saved += u64::try_from(tenth + risen).unwrap_or(WHOLE).min(WHOLE);
        if self.saved < WHOLE {
            return Admission::Refuse(SECOND);
        }
        self.saved -= WHOLE;
        Admission::Pass
    }
}

// ===== impl Probes =====

impl Probes {
    /// How many places are taken. One whose probe said nothing is free again.
    pub(super) fn taken(self) -> u32 {
        self.out + self.good + self.bad
    }
}

// ===== impl BreakerPolicy =====

impl BreakerPolicy {
    /// Whether a call that has failed, softly or not, or was slow, opens the breaker, and why.
    pub(super) fn trips(&self, series: Length, tally: Tally) -> Option<Cause> {
        let has_volume = tally.calls >= u64::from(self.volume());
        let failures = u64::from(WHOLE_FAILURE) * tally.calls;
        if self.consecutive.is_some_and(|most| series.failures >= most) {
            Some(Cause::ConsecutiveFailures)
        } else if has_volume && self.failures.is_some_and(|rate| rate.is_reached(tally.failed, failures)) {
            Some(Cause::FailureRate)
        } else if has_volume && self.slow.is_some_and(|slow| slow.rate.is_reached(tally.slow, tally.calls)) {
            Some(Cause::SlowCalls)
        } else if series.told_to_wait >= 2 {
            // Once could be the maintenance page of one tenant.
            Some(Cause::RetryAfter)
        } else {
            None
        }
    }
}

/// A time of a policy, which is ten years at most.
pub(super) fn nanos(time: std::time::Duration) -> Nanos {
    time.as_secs().saturating_mul(SECOND).saturating_add(u64::from(time.subsec_nanos()))
}
