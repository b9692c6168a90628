//! A breaker at work: the machine behind a lock that is rarely taken, and in front of it one word that tells most calls
//! all they need.

use super::{
    aside::Left,
    breaker::{Metrics, Mode, Snapshot, State},
    control::{
        CLOSED, Control, DISABLED, FORCED_CLOSED, FORCED_OPEN, HALF_OPEN, OPEN, SHADOW, dice, epoch_of, gate_of,
    },
    event::{Cause, Event, Judged, Transition},
    machine::{Admission, Machine, Nanos, Phase, Probed, SECOND, nanos},
    outcome::Outcome,
    permit::Pass,
    policy::BreakerPolicy,
    refusal::Refused,
    series::{Failed, Length, Series},
    totals::{Totals, lane},
    window::{Mark, Tally, WHOLE_FAILURE, Window},
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

/// What a permit holds of a breaker. There are several, so that threads which count their permits don't wait for each
/// other's cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Handle(pub(super) Arc<Core>);

pub(super) type Observe = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What becomes of a call.
#[derive(Debug)]
pub(super) enum Asked {
    Pass(Pass),
    /// It passes, and nobody wants to know how it went.
    PassUncounted,
    /// It makes sense to come back after so long.
    Refuse(Nanos),
    /// It passes, and would be refused if this weren't a shadow.
    WouldRefuse(Nanos),
}

/// What would be lost with a breaker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spared {
    /// Nothing but the count of what went well.
    Closed,
    /// This as well.
    NotClosed(Left),
}

/// How a call went, and in which epoch it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) epoch: u32,
    pub(super) probe: bool,
    /// Whether [`Core::answer_probe`] was told.
    pub(super) answered: bool,
    /// Whether a good head had come.
    pub(super) in_body: bool,
    pub(super) slow: bool,
    pub(super) outcome: Outcome,
    pub(super) retry_after: Option<Duration>,
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

    /// Whether a call would pass now; if not, at what instant it is worth asking again.
    pub(super) fn would_pass(&self) -> Result<(), Instant> {
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

    /// Takes note of a call that went well and was not slow, nor a probe: the way of most.
    #[inline]
    pub(super) fn settle_well(&self, epoch: u32) {
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
    pub(super) fn settle(&self, ended: Ended) {
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
    pub(super) fn answer(&self, epoch: u32) {
        self.series.answer(epoch);
    }

    /// A probe has begun well. Whether it goes on like that, [`settle`](Self::settle) tells.
    #[inline(never)]
    pub(super) fn answer_probe(&self, epoch: u32) {
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

    /// Refuses a call if the breaker is simply open, which changes nothing in it.
    #[inline(never)]
    pub(super) fn refuse_if_open(&self) -> Option<Nanos> {
        let word = self.word.load(Acquire);
        if gate_of(word) != OPEN || word & SHADOW != 0 {
            return None;
        }
        let after = self.until.load(Acquire).checked_sub(self.now()).filter(|after| *after > 0)?;
        self.refuse(after);
        Some(after)
    }

    pub(super) fn refuse(&self, after: Nanos) {
        self.count_refused();
        self.tell(|observe| observe(&Event::Refused(&self.refused(after))));
    }

    pub(super) fn refused(&self, after: Nanos) -> Refused {
        Refused { key: self.key, state: self.state(), after }
    }

    pub(super) fn count_refused(&self) {
        self.totals.count_refused(lane());
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

    /// The time since the breaker was made, as calls need it for what is slow; 0 where they don't.
    #[inline]
    pub(super) fn start(&self) -> Nanos {
        if self.slow.is_some() { self.now() } else { 0 }
    }

    /// Whether a call that began then takes too long.
    #[inline]
    pub(super) fn is_slow(&self, started: Nanos) -> bool {
        self.slow.is_some_and(|slow| self.now().saturating_sub(started) >= slow)
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

    #[inline(never)]
    fn tell_judged(&self, ended: Ended, late: bool) {
        let Ended { probe, slow, outcome, retry_after, .. } = ended;
        let key = self.key;
        self.tell(|observe| observe(&Event::Judged(&Judged { key, outcome, slow, probe, late, retry_after })));
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).field("policy", &self.policy).finish_non_exhaustive()
    }
}

// ===== impl Handle =====

impl Handle {
    pub(super) fn new(core: &Arc<Core>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(core)))
    }

    /// Leave to call, if the breaker is simply closed, as it mostly is.
    #[inline]
    pub(super) fn pass(&self) -> Option<Pass> {
        let core = &*self.0;
        let word = core.word.load(Acquire);
        let is_closed = gate_of(word) == CLOSED && word & SHADOW == 0;
        is_closed.then(|| Pass::new(epoch_of(word), false, core.start()))
    }

    /// Asks for a call to pass. `gate` spares it the ramp.
    pub(super) fn ask(&self, gate: bool) -> Asked {
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
