//! What changes rarely: the machine and what it was told, and the word that says so to those who only read.

use super::{
    breaker::{Mode, Snapshot, State},
    machine::{Machine, Nanos, Phase, nanos},
    policy::BreakerPolicy,
};
use std::{mem, time::Duration};

/// What changes rarely, and in one step.
pub(super) struct Control {
    pub(super) machine: Machine,
    pub(super) mode: Mode,
    pub(super) epoch: u32,
}

/// What is in the lower eight bits of the word: what becomes of a call that asks.
pub(super) const CLOSED: u8 = 0;
pub(super) const RAMP: u8 = 1;
pub(super) const OPEN: u8 = 2;
pub(super) const HALF_OPEN: u8 = 3;
pub(super) const FORCED_OPEN: u8 = 4;
pub(super) const FORCED_CLOSED: u8 = 5;
pub(super) const DISABLED: u8 = 6;
pub(super) const SHADOW: u64 = 1 << 8;

// ===== impl Control =====

impl Control {
    pub(super) fn word(&self) -> u64 {
        let (gate, shadow) = match self.mode {
            Mode::ForcedOpen => (FORCED_OPEN, 0),
            Mode::ForcedClosed => (FORCED_CLOSED, 0),
            Mode::Disabled => (DISABLED, 0),
            Mode::Normal => (self.machine.phase.gate(), 0),
            Mode::Shadow => (self.machine.phase.gate(), SHADOW),
        };
        u64::from(self.epoch) << 32 | shadow | u64::from(gate)
    }

    pub(super) fn state(&self) -> State {
        match (self.mode, self.machine.phase) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::ForcedClosed | Mode::Disabled, _) | (_, Phase::Closed { .. }) => State::Closed,
            (_, Phase::Open { .. }) => State::Open,
            (_, Phase::HalfOpen { .. }) => State::HalfOpen,
        }
    }

    /// Lets the machine do something. If it changes its state by that, an epoch begins.
    pub(super) fn step<T>(&mut self, f: impl FnOnce(&mut Machine) -> T) -> T {
        let was = mem::discriminant(&self.machine.phase);
        let told = f(&mut self.machine);
        if was != mem::discriminant(&self.machine.phase) {
            self.epoch = self.epoch.wrapping_add(1);
        }
        told
    }

    /// Whatever was is of another epoch.
    pub(super) fn begin(&mut self, mode: Mode, machine: Machine) {
        (self.mode, self.machine, self.epoch) = (mode, machine, self.epoch.wrapping_add(1));
    }

    /// Begins anew as it was, but with no time that is longer than twice the longest of the policy.
    pub(super) fn restore(&mut self, snapshot: &Snapshot, policy: &BreakerPolicy, now: Nanos) {
        let longest = policy.longest.max(policy.longest_retry_after).saturating_mul(2);
        let is_forced = !matches!(snapshot.mode, Mode::Normal | Mode::Shadow);
        let (phase, shortest) = match snapshot.state {
            State::Open | State::HalfOpen if !is_forced => {
                let until = now.saturating_add(nanos(snapshot.remaining.min(longest)));
                (Phase::Open { until }, policy.open)
            }
            _ => (Phase::Closed { since: now, ramp: None }, Duration::ZERO),
        };
        let lasted = nanos(snapshot.lasted.max(shortest).min(longest));
        self.begin(snapshot.mode, Machine { phase, opened: snapshot.opened, lasted });
    }
}

impl Phase {
    fn gate(self) -> u8 {
        match self {
            Self::Closed { ramp: None, .. } => CLOSED,
            Self::Closed { ramp: Some(_), .. } => RAMP,
            Self::Open { .. } => OPEN,
            Self::HalfOpen { .. } => HALF_OPEN,
        }
    }
}

pub(super) fn epoch_of(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap_or_default()
}

pub(super) fn gate_of(word: u64) -> u8 {
    u8::try_from(word & 0xff).unwrap_or_default()
}

#[cfg(not(bartizan_loom))]
pub(super) fn dice() -> u32 {
    rand::random()
}

#[cfg(bartizan_loom)]
pub(super) fn dice() -> u32 {
    0
}
