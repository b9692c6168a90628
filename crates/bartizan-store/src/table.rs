//! A bounded table of buckets that never forgives a debt.
//!
//! The table is an array of sets, each a few slots under a lock of its own; a key's hash names its set and tells it
//! from the other keys there. A slot whose bucket is full again is as good as free. When no slot of a set is free, a
//! new key shares the set's overflow cell with all others in that plight, which counts them together: too strictly, for
//! a while, but never too kindly. A key that then gets a slot starts from what the cell has counted, so that no way
//! leads from a debt to a clean slate but time.

use crate::{
    Quota, gcra,
    sync::{Mutex, MutexGuard},
    throttle::{Stamp, Standing},
    window::{Owner, Window},
};

/// What a table remembers for one key. [`Default`] is a full bucket.
pub(crate) trait State: Clone + Default {
    /// The bucket is full again, so that nothing need be remembered.
    fn is_fresh(&self, now: u64) -> bool;
    /// How long `cost` has to wait; zero if it may be taken now.
    fn wait(&self, quota: &Quota, cost: u64, now: u64) -> u64;
    /// Takes `cost`, whether or not it fits; returns the stamp by which some of it can be given back.
    fn add(&mut self, quota: &Quota, owner: Owner, cost: u64, now: u64) -> u64;
    /// Gives back `amount` of what was taken under `stamp`; returns by how much stamps from before are now too late.
    fn refund(&mut self, quota: &Quota, stamp: u64, amount: u64, now: u64) -> u64;
    /// What a key begins with that was counted here together with others: at least as much.
    fn heir(&self, now: u64) -> Self;
    /// What is left.
    fn standing(&self, quota: &Quota, now: u64) -> Standing;
}

/// The state of GCRA: its theoretical arrival time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival(u64);

/// An array of sets. Its length never changes.
#[derive(Debug)]
pub(crate) struct Table<S> {
    sets: Box<[Aligned<S>]>,
}

/// For GCRA a set fills two cache lines, which processors fetch together, and shares neither with another set.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned<S>(Mutex<Set<S>>);

#[derive(Debug, Default)]
pub(crate) struct Set<S> {
    /// By how much refunds have moved the times of this set, in all; it wraps round. Stamps are told in times that never
    /// moved.
    moved: u64,
    /// Whose each slot is.
    hashes: [u64; SLOTS],
    /// The slots, and behind them the overflow cell.
    states: [S; SLOTS + 1],
}

/// Where a key's state is, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    cell: usize,
    /// The slot is another's, whose bucket is full again.
    is_free: bool,
}

const SLOTS: usize = 6;
const OVERFLOW: usize = SLOTS;

// ===== impl Table =====

impl<S: State> Table<S> {
    /// A table in which a set has 3.5 of `keys` on average, so that few of them overflow when all are in use.
    pub(crate) fn for_keys(keys: usize) -> Self {
        let sets = keys.saturating_mul(2).div_ceil(7).max(1);
        Self { sets: (0..sets).map(|_| Aligned(Mutex::new(Set::default()))).collect() }
    }

    /// The number of the set that a hash belongs to.
    #[inline]
    pub(crate) fn index(&self, hash: u64) -> usize {
        // Scrambled first: the hashes of keys in a row may be in a row. Then the hash's share of the length.
        let scrambled = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = (u128::from(scrambled) * self.sets.len() as u128) >> 64;
        usize::try_from(share).expect("less than the length")
    }

    #[inline]
    pub(crate) fn lock(&self, index: usize) -> MutexGuard<'_, Set<S>> {
        self.sets[index].0.lock()
    }

    /// The memory that the table takes, whatever is in it.
    pub(crate) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.sets)
    }
}

// ===== impl Set =====

impl<S: State> Set<S> {
    /// Finds the key with this hash, or the place where it would begin.
    #[inline]
    pub(crate) fn find(&self, hash: u64, now: u64) -> Place {
        if let Some(cell) = self.hashes.iter().position(|other| *other == hash) {
            return Place { cell, is_free: false };
        }
        match self.states[..SLOTS].iter().position(|state| state.is_fresh(now)) {
            Some(cell) => Place { cell, is_free: true },
            None => Place { cell: OVERFLOW, is_free: false },
        }
    }

    /// The state at this place, as it is or as it would begin.
    pub(crate) fn state(&self, place: Place) -> &S {
        &self.states[if place.is_free { OVERFLOW } else { place.cell }]
    }

    /// Takes `cost` at this place, whether or not it fits; returns the state and the stamp.
    pub(crate) fn add(&mut self, hash: u64, place: Place, quota: &Quota, cost: u64, now: u64) -> (&S, Stamp) {
        if place.is_free {
            self.hashes[place.cell] = hash;
            self.states[place.cell] = self.states[OVERFLOW].heir(now);
        }
        let owner = if place.cell == OVERFLOW { Owner::Shared } else { Owner::One };
        let state = &mut self.states[place.cell];
        let stamp = state.add(quota, owner, cost, now);
        (state, Stamp::new(stamp.wrapping_add(self.moved)))
    }

    /// Gives back `amount` of what was taken here under `stamp`. Nothing, if the bucket has been full again since.
    pub(crate) fn refund(&mut self, place: Place, quota: &Quota, stamp: Stamp, amount: u64, now: u64) {
        if !place.is_free {
            let stamp = stamp.get().wrapping_sub(self.moved);
            self.moved = self.moved.wrapping_add(self.states[place.cell].refund(quota, stamp, amount, now));
        }
    }
}

impl Set<Arrival> {
    /// Takes `cost` for the key with this hash, if it may be taken now: one look, one sum. How it stands is worked out only
    /// if it may not.
    #[inline(always)]
    pub(crate) fn take(&mut self, hash: u64, quota: &Quota, cost: u64, now: u64) -> Result<(), Standing> {
        let place = self.find(hash, now);
        let Arrival(arrival) = *self.state(place);
        let Some(next) = gcra::take(quota, arrival, cost, now) else {
            let wait = gcra::wait(quota, arrival, cost, now);
            return Err(Standing { wait, ..gcra::standing(quota, arrival, now) });
        };
        if place.is_free {
            self.hashes[place.cell] = hash;
        }
        self.states[place.cell] = Arrival(next);
        Ok(())
    }
}

// ===== impl State =====

impl State for Arrival {
    fn is_fresh(&self, now: u64) -> bool {
        self.0 <= now
    }

    fn wait(&self, quota: &Quota, cost: u64, now: u64) -> u64 {
        gcra::wait(quota, self.0, cost, now)
    }

    fn add(&mut self, quota: &Quota, _: Owner, cost: u64, now: u64) -> u64 {
        self.0 = gcra::add(quota, self.0, cost, now);
        self.0
    }

    fn refund(&mut self, quota: &Quota, stamp: u64, amount: u64, now: u64) -> u64 {
        // What was taken here ends no later than all that was. A stamp that says so is none of ours.
        if stamp > self.0 {
            return 0;
        }
        let moved = gcra::refund(quota, stamp, amount, now);
        // Nothing has been taken after it, so no stamp that is still out there has moved.
        let was_last = stamp == self.0;
        self.0 = self.0.saturating_sub(moved);
        if was_last { 0 } else { moved }
    }

    fn heir(&self, _: u64) -> Self {
        *self
    }

    #[inline]
    fn standing(&self, quota: &Quota, now: u64) -> Standing {
        gcra::standing(quota, self.0, now)
    }
}

impl State for Window {
    fn is_fresh(&self, now: u64) -> bool {
        self.is_fresh(now)
    }

    fn wait(&self, quota: &Quota, cost: u64, now: u64) -> u64 {
        self.wait(quota, cost, now)
    }

    fn add(&mut self, quota: &Quota, owner: Owner, cost: u64, now: u64) -> u64 {
        self.add(quota, owner, cost, now)
    }

    fn refund(&mut self, _: &Quota, stamp: u64, amount: u64, now: u64) -> u64 {
        self.refund(stamp, amount, now);
        0
    }

    fn heir(&self, now: u64) -> Self {
        self.heir(now)
    }

    fn standing(&self, quota: &Quota, now: u64) -> Standing {
        self.standing(quota, now)
    }
}
