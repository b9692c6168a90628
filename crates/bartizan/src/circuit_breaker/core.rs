//! A breaker at work: the machine behind a lock that is rarely taken, and in front of it one word that tells most calls
//! all they need.

mod ask;
mod judge;

pub(super) use self::{
    ask::{Asked, Handle},
    judge::Ended,
};

use super::{
    aside::Left,
    breaker::{Metrics, Mode, Snapshot, State},
    control::{Control, FORCED_OPEN, HALF_OPEN, OPEN, dice, gate_of},
    event::{Cause, Event, Transition},
    machine::{Machine, Nanos, Phase, SECOND, nanos},
    policy::BreakerPolicy,
    series::Series,
    totals::Totals,
    window::{Tally, Window},
};
use crate::shared::sync::{
    Mutex, MutexGuard,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};
use bartizan_store::Key;
use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// What all handles of one breaker share. Aligned, so that what every call reads isn't in the cache line in which every
/// call counts its handle.
#[repr(align(128))]
pub(super) struct Core {
    /// `epoch:32 | shadow:1 | gate:8`. The epoch is another one after each change of state, so that an outcome can be
    /// told from one that is of the past.
    word: AtomicU64,
    /// While it is open: until when.
    until: AtomicU64,
    series: Series,
    /// How long a call may take, if slow calls count.
    slow: Option<Nanos>,
    window: Window,
    totals: Totals,
    pub(super) policy: BreakerPolicy,
    birth: Instant,
    pub(super) key: Option<Key>,
    observe: Option<Observe>,
    /// There is one once somebody watches. Also sent when a place for a probe has become free.
    states: OnceLock<watch::Sender<State>>,
    control: Mutex<Control>,
}

pub(super) type Observe = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What would be lost with a breaker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spared {
    /// Nothing but the count of what went well.
    Closed,
    /// This as well.
    NotClosed(Left),
}

// ===== impl Core =====

impl Core {
    /// Threads share so many lanes, a power of two.
    pub(super) fn new(
        policy: BreakerPolicy,
        lanes: usize,
        key: Option<Key>,
        mode: Mode,
        observe: Option<Observe>,
    ) -> Self {
        let control = Control { machine: Machine::NEW, mode, epoch: 1 };
        Self {
            word: AtomicU64::new(control.word()),
            until: AtomicU64::new(0),
            series: Series::new(control.epoch),
            slow: policy.slow.map(|slow| nanos(slow.threshold)),
            window: Window::new(&policy, lanes),
            totals: Totals::new(lanes),
            policy,
            birth: Instant::now(),
            key,
            observe,
            states: OnceLock::new(),
            control: Mutex::new(control),
        }
    }

    /// Leaves all behind and begins anew in this mode.
    pub(super) fn force(&self, mode: Mode) {
        let now = self.now();
        self.change(Some(Cause::Forced), |control, _, _| {
            control.begin(mode, Machine { phase: Phase::Closed { since: now, ramp: None }, ..Machine::NEW });
        });
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let now = self.now();
        let control = self.lock();
        let tally = self.window.tally(control.epoch, now);
        let remaining = match control.machine.phase {
            Phase::Open { until } => until.saturating_sub(now),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => 0,
        };
        Snapshot {
            state: control.state(),
            mode: control.mode,
            remaining: Duration::from_nanos(remaining),
            lasted: Duration::from_nanos(control.machine.lasted),
            opened: control.machine.opened,
            consecutive: self.series.length(control.epoch).failures,
            calls: tally.calls,
            failed: tally.failed,
            slow: tally.slow,
        }
    }

    /// Begins anew as it was. What was half-open probes again.
    pub(super) fn restore(&self, snapshot: &Snapshot) {
        let now = self.now();
        self.change(Some(Cause::Forced), |control, policy, _| {
            control.restore(snapshot, policy, now);
            self.window.begin(control.epoch);
            self.series.restore(control.epoch, snapshot.consecutive);
            let Snapshot { calls, failed, slow, .. } = *snapshot;
            self.window.restore(control.epoch, Tally { calls, failed, slow }, now);
        });
    }

    pub(super) fn state(&self) -> State {
        match gate_of(self.word.load(Acquire)) {
            OPEN | FORCED_OPEN => State::Open,
            HALF_OPEN => State::HalfOpen,
            _ => State::Closed,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        let control = self.lock(); // so that no change is missed
        self.states.get_or_init(|| watch::Sender::new(control.state())).subscribe()
    }

    pub(super) fn mode(&self) -> Mode {
        self.lock().mode
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.totals.metrics()
    }

    /// For whoever watches, if somebody does.
    pub(super) fn tell(&self, tell: impl FnOnce(&dyn Fn(&Event<'_>))) {
        if let Some(observe) = &self.observe {
            tell(&**observe);
        }
    }

    /// Whether it can be spared, if nobody else holds it, and what is to be kept of it then.
    pub(super) fn spare(&self) -> Option<Spared> {
        let control = self.lock();
        let now = self.now();
        if control.mode != Mode::Normal || !control.machine.is_over(&self.policy, now) {
            return None;
        }
        if control.state() != State::Closed {
            return Some(Spared::NotClosed(Left { birth: self.birth, machine: control.machine }));
        }
        let tally = self.window.tally(control.epoch, now);
        let series = self.series.length(control.epoch);
        let is_well = tally.failed + tally.slow == 0 && (tally.calls == 0 || series.failures == 0);
        is_well.then_some(Spared::Closed)
    }

    /// As another was when it was spared.
    pub(super) fn resume(self, Left { birth, machine }: Left) -> Self {
        let control = Control { machine, ..self.control.into_inner().unwrap_or_else(PoisonError::into_inner) };
        let until = if let Phase::Open { until } = machine.phase { until } else { 0 };
        let (word, until) = (AtomicU64::new(control.word()), AtomicU64::new(until));
        Self { word, until, birth, control: Mutex::new(control), ..self }
    }

    #[inline]
    pub(super) fn now(&self) -> Nanos {
        let time = Instant::now() - self.birth;
        time.as_secs() * SECOND + u64::from(time.subsec_nanos())
    }

    /// The one way in which anything changes: under the lock, and published before it is released.
    fn change<T>(&self, cause: Option<Cause>, f: impl FnOnce(&mut Control, &BreakerPolicy, u32) -> T) -> T {
        let mut control = self.lock();
        let (from, epoch) = (control.state(), control.epoch);
        let told = f(&mut control, &self.policy, dice());
        if let Phase::Open { until } = control.machine.phase {
            self.until.store(until, Release);
        }
        if epoch != control.epoch {
            self.window.begin(control.epoch);
            self.series.begin(control.epoch);
        }
        self.word.store(control.word(), Release);
        let (to, mode) = (control.state(), control.mode);
        if epoch == control.epoch {
            return told;
        }
        self.states.get().inspect(|states| states.send_modify(|state| *state = to));
        drop(control);
        let cause = cause.unwrap_or(if from == State::Open { Cause::OpenTimeOver } else { Cause::Probes });
        self.tell(|observe| observe(&Event::Changed(&Transition { key: self.key, from, to, mode, cause })));
        told
    }

    /// Held for a few lines; nothing is left half-written in it, so a panic does no harm.
    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).field("policy", &self.policy).finish_non_exhaustive()
    }
}
