//! The switch.

use super::{
    kinds::{Fault, assert_share},
    strike::{Dice, Strike, strikes},
};
use http::request::Parts;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use tokio::time::{Duration, Instant};

/// The switch of a [`FaultLayer`](super::FaultLayer): what goes wrong at the moment. Cloning it shares it.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

struct Shared {
    at_most: f64,
    seed: u64,
    /// Whether there may be a fault: all that a request looks at while there is none.
    on: AtomicBool,
    active: Mutex<Arc<[Active]>>,
    /// How many requests a fault was aimed at. Each has a number, by which its dice fall.
    aimed: AtomicU64,
    harmed: AtomicU64,
}

#[derive(Clone)]
struct Active {
    fault: Fault,
    until: Option<Instant>,
}

// ===== impl Faults =====

impl Faults {
    /// Off. When it is switched on it harms no more than 5 % of the requests, with dice that fall differently each time.
    #[must_use]
    pub fn new() -> Self {
        Self::of(0.05, rand::random())
    }

    /// Harms no more than this share of the requests aimed at, whatever is injected. Say it before the switch is shared:
    /// this is another one.
    ///
    /// # Panics
    /// If it is not a number from 0 to 1.
    #[must_use]
    pub fn at_most(self, share: f64) -> Self {
        assert_share(share);
        Self::of(share, self.shared.seed)
    }

    /// Lets the dice fall as they always do for this seed: the same requests in the same order meet the same faults. Say
    /// it before the switch is shared: this is another one.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self::of(self.shared.at_most, seed)
    }

    /// Switches these faults on, in the place of all that there were. One [`Fault`] will do, or an array.
    pub fn inject(&self, faults: impl Into<Vec<Fault>>) {
        let now = Instant::now();
        let active = faults.into().into_iter().map(|fault| {
            let until = fault.lasting.and_then(|lasting| now.checked_add(lasting));
            Active { fault, until }
        });
        self.set(active.collect());
    }

    /// Switches everything off.
    pub fn heal(&self) {
        self.set([].into());
    }

    /// The faults that are on, and for how long they will be.
    #[must_use]
    pub fn active(&self) -> Vec<(Fault, Option<Duration>)> {
        let now = Instant::now();
        let active = Arc::clone(&self.lock());
        let active = active.iter().filter(|active| active.is_on(now));
        active.map(|active| (active.fault.clone(), active.until.map(|until| until - now))).collect()
    }

    /// How many requests were harmed so far.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        self.shared.harmed.load(Relaxed)
    }

    /// Whether a request has to be looked at.
    #[inline]
    pub(super) fn may_be_on(&self) -> bool {
        self.shared.on.load(Relaxed)
    }

    /// What befalls the request with this head; each fault that strikes it is told.
    pub(super) fn strike(&self, head: &Parts, mut tell: impl FnMut(&Fault)) -> Option<Strike> {
        let now = Instant::now();
        let active = Arc::clone(&self.lock());
        if !active.iter().any(|active| active.is_on(now)) {
            self.retire(now);
            return None;
        }
        let mut aimed = active.iter().filter(|active| active.is_on(now) && active.fault.aims_at(head)).peekable();
        aimed.peek()?;

        let dice = Dice::of(self.shared.seed, self.shared.aimed.fetch_add(1, Relaxed));
        let mut strike = None;
        for (fault, where_in_range) in strikes(aimed.map(|active| &active.fault), self.shared.at_most, dice) {
            tell(fault);
            strike.get_or_insert_with(Strike::default).add(fault, where_in_range);
        }
        self.shared.harmed.fetch_add(u64::from(strike.is_some()), Relaxed);
        strike
    }

    fn of(at_most: f64, seed: u64) -> Self {
        let (aimed, harmed) = (AtomicU64::new(0), AtomicU64::new(0));
        let (on, active) = (AtomicBool::new(false), Mutex::new([].into()));
        Self { shared: Arc::new(Shared { at_most, seed, on, active, aimed, harmed }) }
    }

    fn set(&self, faults: Arc<[Active]>) {
        let mut active = self.lock();
        self.shared.on.store(!faults.is_empty(), Relaxed);
        *active = faults;
    }

    /// Goes off if the last fault's time is over; somebody may have injected another one meanwhile.
    fn retire(&self, now: Instant) {
        let mut active = self.lock();
        if !active.iter().any(|active| active.is_on(now)) {
            self.shared.on.store(false, Relaxed);
            *active = [].into();
        }
    }

    /// Held for a few lines, and never while a user's function runs.
    fn lock(&self) -> MutexGuard<'_, Arc<[Active]>> {
        self.shared.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { at_most, seed, .. } = &*self.shared;
        f.debug_struct("Faults")
            .field("at_most", at_most)
            .field("seed", seed)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}

// ===== impl Active =====

impl Active {
    fn is_on(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
