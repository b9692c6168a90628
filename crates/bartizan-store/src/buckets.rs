//! Deciding charges over buckets, several in one step.

use crate::{
    Algorithm, Charge, Decision, Stamp, Verdict,
    secret::Secret,
    sync::MutexGuard,
    table::{self, Arrival, Set, State, Table},
    throttle::Standing,
    window::Window,
};
use smallvec::SmallVec;
use std::{sync::OnceLock, time::Duration};

/// All buckets: those that are paced, and those that count in windows. `now` is always an argument.
pub(crate) struct Buckets {
    secret: Secret,
    keys: usize,
    paced: Table<Arrival>,
    windows: OnceLock<Table<Window>>,
}

/// Whether to take the charges, if all may pass, or only to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Take,
    Look,
}

/// Where the bucket of a charge is. The order of sets is the order of locking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    set: SetNumber,
    hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SetNumber {
    Paced(usize),
    Windows(usize),
}

/// A set, locked.
enum Locked<'a> {
    Paced(MutexGuard<'a, Set<Arrival>>),
    Windows(MutexGuard<'a, Set<Window>>),
}

// ===== impl Buckets =====

impl Buckets {
    pub(crate) fn for_keys(keys: usize) -> Self {
        Self { secret: Secret::draw(), keys, paced: Table::for_keys(keys), windows: OnceLock::new() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.paced.bytes() + self.windows.get().map_or(0, Table::bytes)
    }

    /// Decides all charges in one step, which nobody else sees half done.
    pub(crate) fn step(&self, charges: &[Charge<'_>], step: Step, now: u64) -> Decision {
        let [charge] = charges else { return self.step_all(charges, step, now) };
        if !is_usual(charge) {
            return self.step_all(charges, step, now);
        }
        let admitted = self.step_one(charge, now, |set, hash, place| match step {
            Step::Take => take_at(set, hash, place, charge, now),
            Step::Look => set.state(place).standing(&charge.quota, now),
        });
        admitted.unwrap_or_else(|refused| refused).into()
    }

    /// Takes a charge, if it is a usual one. How it stands is worked out only if it has to wait.
    #[inline(always)]
    pub(crate) fn take(&self, charge: &Charge<'_>, now: impl FnOnce() -> u64) -> Option<Result<(), Standing>> {
        if !is_usual(charge) {
            return None;
        }
        if charge.cost == 0 {
            return Some(Ok(()));
        }
        let (hash, now) = (self.hash(charge), now());
        let mut set = self.paced.lock(self.paced.index(hash));
        Some(set.take(hash, &charge.quota, charge.cost.into(), now))
    }

    /// Corrects what a charge took.
    pub(crate) fn settle(&self, charge: &Charge<'_>, stamp: Stamp, actual: u32, now: u64) {
        let place = self.place(charge);
        match self.lock(place.set) {
            Locked::Paced(mut set) => settle(&mut set, place.hash, charge, stamp, actual, now),
            Locked::Windows(mut set) => settle(&mut set, place.hash, charge, stamp, actual, now),
        }
    }

    /// The usual step: one charge, which is paced. `admit` is told where its bucket is, if it may pass.
    #[inline(always)]
    fn step_one<A>(
        &self,
        charge: &Charge<'_>,
        now: u64,
        admit: impl FnOnce(&mut Set<Arrival>, u64, table::Place) -> A,
    ) -> Result<A, Standing> {
        let hash = self.hash(charge);
        let mut set = self.paced.lock(self.paced.index(hash));
        let place = set.find(hash, now);
        let state = set.state(place);
        match wait(state, charge, 0, now) {
            0 => Ok(admit(&mut set, hash, place)),
            wait => Err(Standing { wait, ..state.standing(&charge.quota, now) }),
        }
    }

    #[inline(never)]
    fn step_all(&self, charges: &[Charge<'_>], step: Step, now: u64) -> Decision {
        if !charges.iter().all(is_affordable) {
            return Decision::new(Verdict::TooCostly, charges.iter().map(|_| Standing::default()));
        }
        let places: SmallVec<[Place; 4]> = charges.iter().map(|charge| self.place(charge)).collect();
        let mut order: SmallVec<[SetNumber; 4]> = places.iter().map(|place| place.set).collect();
        order.sort_unstable();
        order.dedup();
        let mut sets: SmallVec<[Locked<'_>; 4]> = order.iter().map(|&set| self.lock(set)).collect();
        let locked =
            |place: &Place| order.iter().position(|set| *set == place.set).expect("every set was locked above");

        let mut standings: SmallVec<[Standing; 4]> = SmallVec::new();
        for (index, (charge, place)) in charges.iter().zip(&places).enumerate() {
            // What the charges before this one would take from the same bucket counts as taken.
            let same = charges.iter().zip(&places).take(index).filter(|(_, other)| *other == place);
            let before: u64 = same.map(|(other, _)| u64::from(other.cost)).sum();
            if charge.cost > 0 && before + u64::from(charge.cost) > u64::from(charge.quota.burst_size()) {
                return Decision::new(Verdict::TooCostly, charges.iter().map(|_| Standing::default()));
            }
            standings.push(sets[locked(place)].look(place.hash, charge, before, now));
        }
        let wait = standings.iter().map(|standing| standing.wait).max().unwrap_or(0);
        if wait > 0 {
            return Decision::new(Verdict::Refused(Duration::from_nanos(wait)), standings);
        }
        if step == Step::Take {
            for ((charge, place), standing) in charges.iter().zip(&places).zip(&mut standings) {
                *standing = sets[locked(place)].take(place.hash, charge, now);
            }
        }
        Decision::new(Verdict::Admitted, standings)
    }

    fn place(&self, charge: &Charge<'_>) -> Place {
        let hash = self.hash(charge);
        if charge.quota.algorithm() == Algorithm::Gcra {
            return Place { set: SetNumber::Paced(self.paced.index(hash)), hash };
        }
        // Windows of another length are another count. A pace can change while its bucket stays.
        let hash = hash.wrapping_add(charge.quota.period_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Place { set: SetNumber::Windows(self.windows().index(hash)), hash }
    }

    #[inline]
    fn hash(&self, charge: &Charge<'_>) -> u64 {
        self.secret.hash(charge.key) ^ charge.policy.hash()
    }

    fn lock(&self, set: SetNumber) -> Locked<'_> {
        match set {
            SetNumber::Paced(index) => Locked::Paced(self.paced.lock(index)),
            SetNumber::Windows(index) => Locked::Windows(self.windows().lock(index)),
        }
    }

    fn windows(&self) -> &Table<Window> {
        self.windows.get_or_init(|| Table::for_keys(self.keys))
    }
}

// ===== impl Locked =====

impl Locked<'_> {
    fn look(&self, hash: u64, charge: &Charge<'_>, before: u64, now: u64) -> Standing {
        match self {
            Self::Paced(set) => look(set, set.find(hash, now), charge, before, now),
            Self::Windows(set) => look(set, set.find(hash, now), charge, before, now),
        }
    }

    fn take(&mut self, hash: u64, charge: &Charge<'_>, now: u64) -> Standing {
        fn take<S: State>(set: &mut Set<S>, hash: u64, charge: &Charge<'_>, now: u64) -> Standing {
            let place = set.find(hash, now);
            take_at(set, hash, place, charge, now)
        }
        match self {
            Self::Paced(set) => take(set, hash, charge, now),
            Self::Windows(set) => take(set, hash, charge, now),
        }
    }
}

/// Whether it is one that most are: paced, and no more than is ever granted at once.
fn is_usual(charge: &Charge<'_>) -> bool {
    charge.quota.algorithm() == Algorithm::Gcra && is_affordable(charge)
}

/// Whether it is ever granted at once.
fn is_affordable(charge: &Charge<'_>) -> bool {
    charge.cost <= charge.quota.burst_size()
}

/// How a charge stands, and how long it has to wait if `before` is taken from its bucket first.
fn look<S: State>(set: &Set<S>, place: table::Place, charge: &Charge<'_>, before: u64, now: u64) -> Standing {
    let state = set.state(place);
    Standing { wait: wait(state, charge, before, now), ..state.standing(&charge.quota, now) }
}

fn wait<S: State>(state: &S, charge: &Charge<'_>, before: u64, now: u64) -> u64 {
    match charge.cost {
        0 => 0,
        cost => state.wait(&charge.quota, before + u64::from(cost), now),
    }
}

/// Takes a charge; how it stands afterwards.
#[inline]
fn take_at<S: State>(set: &mut Set<S>, hash: u64, place: table::Place, charge: &Charge<'_>, now: u64) -> Standing {
    if charge.cost == 0 {
        return set.state(place).standing(&charge.quota, now);
    }
    let (state, stamp) = set.add(hash, place, &charge.quota, charge.cost.into(), now);
    Standing { stamp, ..state.standing(&charge.quota, now) }
}

fn settle<S: State>(set: &mut Set<S>, hash: u64, charge: &Charge<'_>, stamp: Stamp, actual: u32, now: u64) {
    let place = set.find(hash, now);
    if actual < charge.cost {
        set.refund(place, &charge.quota, stamp, u64::from(charge.cost - actual), now);
    } else if actual > charge.cost {
        set.add(hash, place, &charge.quota, u64::from(actual - charge.cost), now);
    }
}
