//! A gate for each key, in so much room and no more.

use super::gate::Gate;
use crate::shared::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering},
};
use std::{array, sync::PoisonError};

/// The gates of all keys that have requests in flight, or lately had.
///
/// A gate at which nobody is or waits says nothing, so another key may have it. A key is known by 64 bits of a seeded
/// hash: two keys that share them share a gate.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<Set>]>,
    limit: AtomicU32,
}

/// Keys that are neighbours by their hash.
#[derive(Debug)]
struct Set {
    places: [Option<Place>; PLACES],
    /// For the keys that find no place. As long as somebody is in there, nobody new gets a place of their own: their
    /// key may be the one that is in.
    crowd: Option<Arc<Gate>>,
}

#[derive(Debug)]
struct Place {
    key: u64,
    gate: Arc<Gate>,
}

const SETS: usize = 2048;
const PLACES: usize = 8;

// ===== impl Table =====

impl Table {
    pub(super) fn new(limit: u32) -> Self {
        let set = || Mutex::new(Set { places: array::from_fn(|_| None), crowd: None });
        Self { sets: (0..SETS).map(|_| set()).collect(), limit: AtomicU32::new(limit) }
    }

    /// The gate of a key. It stays that key's as long as somebody holds it.
    pub(super) fn gate(&self, key: u64) -> Arc<Gate> {
        let index = usize::try_from(key % SETS as u64).expect("below the number of sets");
        let mut set = lock(&self.sets[index]);
        if let Some(place) = set.places.iter().flatten().find(|place| place.key == key) {
            return Arc::clone(&place.gate);
        }
        let new = || Arc::new(Gate::new(self.limit.load(Ordering::Relaxed)));
        if let Some(crowd) = &mut set.crowd
            && !is_idle(crowd)
        {
            return Arc::clone(crowd);
        }
        let free = set.places.iter_mut().find_map(|place| match place {
            None => Some(place),
            Some(held) => is_idle(&mut held.gate).then_some(place),
        });
        let gate = match free {
            Some(Some(place)) => {
                place.key = key;
                &place.gate
            }
            Some(none) => &none.insert(Place { key, gate: new() }).gate,
            None => set.crowd.get_or_insert_with(new),
        };
        Arc::clone(gate)
    }

    /// Sets another limit for each key. A gate that is made meanwhile has it already.
    pub(super) fn resize(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
        // One set at a time, and its lock is open again before permits move.
        for gate in self.sets.iter().flat_map(gates) {
            Gate::resize(&gate, limit);
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.sets.iter().flat_map(gates).map(|gate| gate.in_flight()).sum()
    }

    pub(super) fn waiting(&self) -> usize {
        self.sets.iter().flat_map(gates).map(|gate| gate.waiting()).sum()
    }
}

fn gates(set: &Mutex<Set>) -> Vec<Arc<Gate>> {
    let set = lock(set);
    set.places.iter().flatten().map(|place| &place.gate).chain(&set.crowd).map(Arc::clone).collect()
}

/// Whether nobody is at the gate. Nobody comes either: they would need the lock that we hold.
fn is_idle(gate: &mut Arc<Gate>) -> bool {
    Arc::get_mut(gate).is_some()
}

fn lock(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
