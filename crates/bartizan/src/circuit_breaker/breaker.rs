//! The breaker as its users hold it.

use super::{
    core::{Core, Handle, Observe},
    event::Event,
    keyed::{Keyed, MOST_KEYS},
    policy::BreakerPolicy,
    totals::lane,
};
use bartizan_store::Key;
use std::{fmt, sync::Arc, thread, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Counts how calls go, and refuses them while they would fail.
///
/// A handle: clones share what it remembers. Make it before the layer, and keep one to look at it and to steer it:
///
/// ```
/// use bartizan::circuit_breaker::{Breaker, BreakerPolicy, State};
///
/// let breaker = Breaker::new(BreakerPolicy::failure_rate(0.5).over(20));
/// assert_eq!(breaker.state(), State::Closed);
/// breaker.force_open();
/// assert_eq!(breaker.state(), State::Open);
/// breaker.reset();
/// assert_eq!(breaker.state(), State::Closed);
/// ```
#[derive(Clone)]
pub struct Breaker {
    pub(super) core: Arc<Core>,
    /// As many as there are lanes; one, if it is the breaker of a key.
    handles: Arc<[Arc<Handle>]>,
    keyed: Arc<Keyed>,
    observe: Option<Observe>,
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// They pass, and are counted.
    Closed,
    /// They are refused.
    Open,
    /// A few pass, to find out whether the service is well again.
    HalfOpen,
}

/// Whether a breaker does what it should, or what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It opens and closes as its policy says.
    Normal,
    /// All calls are refused.
    ForcedOpen,
    /// All calls pass and are counted, and it never opens.
    ForcedClosed,
    /// All calls pass, and nothing is counted.
    Disabled,
    /// It opens and closes as its policy says, and refuses nobody.
    Shadow,
}

/// Where a breaker stands: what [`Breaker::restore`] needs to go on from there, after a restart. Plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// The mode.
    pub mode: Mode,
    /// For how long it is still open.
    pub remaining: Duration,
    /// How long it was open the last time, or will have been.
    pub lasted: Duration,
    /// How many times in a row it has opened without recovering in between.
    pub opened: u32,
    /// How many calls have failed one after the other.
    pub consecutive: u32,
    /// How many calls its window holds.
    pub calls: u64,
    /// How many of them have failed, in hundredths: soft failures are parts of one.
    pub failed: u64,
    /// How many of them were slow.
    pub slow: u64,
}

/// How many calls there have been since the breaker was made. Numbers only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// How many went well.
    pub succeeded: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were soft failures, of whatever weight.
    pub soft_failed: u64,
    /// How many said nothing about the service.
    pub ignored: u64,
    /// How many of all these had begun before the breaker last changed its state, and so changed nothing.
    pub late: u64,
    /// How many were refused, or would have been in shadow mode.
    pub refused: u64,
}

/// Tells when a breaker changes its state.
#[derive(Clone, Debug)]
pub struct Changes {
    states: watch::Receiver<State>,
    seen: State,
}

// ===== impl Breaker =====

impl Breaker {
    /// A closed breaker that nobody has used yet.
    ///
    /// Its window takes less than half a KiB for each processor, or eight bytes per call if it counts calls.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self::with(policy, MOST_KEYS, None)
    }

    /// The most breakers that it makes for single [keys](super::CircuitBreakerLayer::key_by): 1024. Less than a KiB
    /// each, or eight bytes per call if the window counts calls.
    ///
    /// A further key takes the place of one that can be spared: whose breaker is closed, no ramp is left, and its window
    /// holds no failure. If there is none among the 16 that are looked at, it takes that of one which was open, and for
    /// which nobody came for as long after that as probes would have had time. That one is set aside, and goes on from
    /// there when its key comes again: half-open, and open for longer each time; or closed, with a ramp, if a probe had gone
    /// well and none badly. Up to four for each that fits are set aside, in a third of a KiB for each that fits, which each
    /// part of the map takes at once with its first. Where a place is short, earlier ones are forgotten, a few in a hundred
    /// when twice as many are set aside as fit.
    ///
    /// What a call or one of your handles still holds is not spared, nor what is forced. A key that finds no place has to
    /// do with this breaker itself, together with all others that found none.
    ///
    /// Say it before cloning: the breaker begins anew.
    #[must_use]
    pub fn keys_at_most(self, keys: usize) -> Self {
        Self::with(self.core.policy, keys, self.observe)
    }

    /// Tells `observe` what the breaker does. Called in the middle of the request: be quick.
    ///
    /// Say it before cloning: the breaker begins anew.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self::with(self.core.policy, self.keyed.most(), Some(Arc::new(observe)))
    }

    /// What it does with calls. One that has been open for long enough is still open until the next call comes.
    #[must_use]
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Whether a call would pass at this moment, and if not, when it is worth asking again: for a balancer, which then
    /// takes another service. Nothing is reserved, and a ramp is not asked.
    ///
    /// # Errors
    /// If it would be refused.
    pub fn would_pass(&self) -> Result<(), Instant> {
        self.core.would_pass()
    }

    /// Whether it does what it should, or what it was told.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.core.mode()
    }

    /// How many calls there have been.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    /// Tells when the state changes.
    #[must_use]
    pub fn watch(&self) -> Changes {
        let mut states = self.core.subscribe();
        let seen = *states.borrow_and_update();
        Changes { states, seen }
    }

    /// Refuses all calls from now on.
    pub fn force_open(&self) {
        self.force(Mode::ForcedOpen);
    }

    /// Lets all calls pass from now on, and counts them.
    pub fn force_closed(&self) {
        self.force(Mode::ForcedClosed);
    }

    /// Lets all calls pass from now on, and counts nothing.
    pub fn disable(&self) {
        self.force(Mode::Disabled);
    }

    /// Opens and closes from now on as the policy says, and refuses nobody: to try a policy on real traffic.
    pub fn shadow(&self) {
        self.force(Mode::Shadow);
    }

    /// Closed, with nothing counted, and in normal mode. Calls that are under way change nothing any more.
    pub fn reset(&self) {
        self.force(Mode::Normal);
    }

    /// Where it stands, to go on from there after a restart. The breakers of keys are not in it: take one of each that
    /// [`keys`](Self::keys) tells.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    /// Goes on from where another breaker stood. What that one's window held counts as of now, and no time is longer
    /// than twice the longest of this one's policy. Those of keys stay as they are.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.core.restore(snapshot);
    }

    /// The breaker of a key, made if need be: see [`keys_at_most`](Self::keys_at_most).
    ///
    /// `None` if there is no room: the key shares this breaker then, and what is forced here is forced for all who do.
    #[must_use]
    pub fn of(&self, key: Key) -> Option<Self> {
        self.own_handle_of(key).map(|handle| self.with_handle(handle))
    }

    /// The breakers of all keys that have one, but for those that are [set aside](Self::keys_at_most).
    #[must_use]
    pub fn keys(&self) -> Vec<(Key, Self)> {
        self.keyed.all().into_iter().map(|(key, handle)| (key, self.with_handle(handle))).collect()
    }

    /// The handle for this thread.
    #[inline]
    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handles[lane() & (self.handles.len() - 1)]
    }

    /// The handle of a key; the breaker's own if there is no room for another.
    pub(super) fn handle_of(&self, key: Key) -> Arc<Handle> {
        self.own_handle_of(key).unwrap_or_else(|| Arc::clone(self.handle()))
    }

    fn own_handle_of(&self, key: Key) -> Option<Arc<Handle>> {
        self.keyed.of(key, || Core::new(self.core.policy, 1, Some(key), self.core.mode(), self.observe.clone()))
    }

    fn with(policy: BreakerPolicy, keys: usize, observe: Option<Observe>) -> Self {
        let lanes = thread::available_parallelism().map_or(1, |n| n.get().next_power_of_two().min(16));
        let core = Arc::new(Core::new(policy, lanes, None, Mode::Normal, observe.clone()));
        let handles = (0..lanes).map(|_| Handle::new(&core)).collect();
        Self { core, handles, keyed: Arc::new(Keyed::new(keys)), observe }
    }

    fn with_handle(&self, handle: Arc<Handle>) -> Self {
        let (core, keyed) = (Arc::clone(&handle.0), Arc::clone(&self.keyed));
        Self { core, handles: Arc::new([handle]), keyed, observe: self.observe.clone() }
    }

    /// What holds for a breaker holds for those of its keys.
    fn force(&self, mode: Mode) {
        self.core.force(mode);
        if self.core.key.is_none() {
            for handle in self.keyed.all_and_none_aside() {
                handle.0.force(mode);
            }
        }
    }
}

impl Default for Breaker {
    /// Of the usual [policy](BreakerPolicy::new).
    fn default() -> Self {
        Self::new(BreakerPolicy::new())
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core.fmt(f)
    }
}

// ===== impl State =====

impl State {
    /// `closed`, `open` or `half_open`: for a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

// ===== impl Changes =====

impl Changes {
    /// Waits until the state is another one than last time, and tells it. Who asks rarely may miss some in between.
    /// `None` when the last handle of the breaker is gone.
    pub async fn next(&mut self) -> Option<State> {
        loop {
            self.states.changed().await.ok()?;
            let state = *self.states.borrow_and_update();
            if state != self.seen {
                self.seen = state;
                return Some(state);
            }
        }
    }

    /// The state at this moment.
    #[must_use]
    pub fn state(&self) -> State {
        *self.states.borrow()
    }
}
