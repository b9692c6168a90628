//! A breaker for each key, and no more of them than fit.

use super::{
    aside::Aside,
    core::{Core, Handle, Spared},
};
use bartizan_store::Key;
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    mem,
    sync::{Arc, PoisonError, RwLock},
};

/// The breakers of all keys, in so many parts that two requests rarely meet.
pub(super) struct Keyed {
    parts: Box<[RwLock<Part>]>,
    hasher: RandomState,
    most: usize,
}

struct Part {
    breakers: HashMap<ByBytes, Arc<Handle>, RandomState>,
    /// How many keys it may hold.
    most: usize,
    /// The same keys in a row, and where in it the next search for room begins.
    keys: Vec<ByBytes>,
    hand: usize,
    aside: Aside,
}

/// A key that is hashed by as many bytes as it has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ByBytes(Key);

pub(super) const MOST_KEYS: usize = 1024;
const PARTS: usize = 16;
/// Whoever needs room looks at so many keys, and who comes next at those that follow.
const LOOKED_AT: usize = 16;

// ===== impl Keyed =====

impl Keyed {
    pub(super) fn new(most: usize) -> Self {
        let parts = PARTS.min(most.max(1));
        let hasher = RandomState::new();
        let part = |index| {
            let most = most / parts + usize::from(index < most % parts);
            let breakers = HashMap::with_hasher(hasher.clone());
            RwLock::new(Part { breakers, most, keys: Vec::new(), hand: 0, aside: Aside::default() })
        };
        Self { parts: (0..parts).map(part).collect(), most, hasher }
    }

    /// The breaker of a key, made if need be. `None` if there is no room, because none that is there can be spared.
    pub(super) fn of(&self, key: Key, make: impl FnOnce() -> Core) -> Option<Arc<Handle>> {
        let key = ByBytes(key);
        let hash = self.hasher.hash_one(key);
        let part = &self.parts[usize::try_from(hash >> 32).unwrap_or_default() % self.parts.len()];
        if let Some(handle) = part.read().unwrap_or_else(PoisonError::into_inner).breakers.get(&key) {
            return Some(Arc::clone(handle));
        }
        part.write().unwrap_or_else(PoisonError::into_inner).make(key, hash, make)
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn all(&self) -> Vec<(Key, Arc<Handle>)> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(part.breakers.iter().map(|(key, core)| (key.0, Arc::clone(core))));
        }
        all
    }

    /// As [`all`](Self::all), and nothing is set aside any more.
    pub(super) fn all_and_none_aside(&self) -> Vec<Arc<Handle>> {
        let mut all = Vec::new();
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.aside = Aside::default();
            all.extend(part.breakers.values().cloned());
        }
        all
    }
}

// ===== impl Part =====

impl Part {
    fn make(&mut self, key: ByBytes, hash: u64, make: impl FnOnce() -> Core) -> Option<Arc<Handle>> {
        if let Some(handle) = self.breakers.get(&key) {
            return Some(Arc::clone(handle)); // somebody was quicker
        }
        let room = if self.keys.len() < self.most { None } else { Some(self.room()?) };
        let left = self.aside.take(hash); // while it is there: what makes room now may push it out
        match room {
            None => self.keys.push(key),
            Some((place, spared)) => self.replace(place, spared, key),
        }
        let core = match left {
            None => make(),
            Some(left) => make().resume(left),
        };
        let handle = Handle::new(&Arc::new(core));
        self.breakers.insert(key, Arc::clone(&handle));
        Some(handle)
    }

    /// The place of a key whose breaker can be spared: one that is closed, or else one that was open.
    fn room(&mut self) -> Option<(usize, Spared)> {
        let mut not_closed = None;
        for _ in 0..LOOKED_AT.min(self.keys.len()) {
            let place = self.hand % self.keys.len();
            self.hand = place + 1;
            match self.spare(place) {
                Some(Spared::Closed) => return Some((place, Spared::Closed)),
                Some(spared) => not_closed = Some((place, spared)),
                None => {}
            }
        }
        not_closed
    }

    /// Another key takes the place of one whose breaker is spared. What was open is set aside.
    fn replace(&mut self, place: usize, spared: Spared, key: ByBytes) {
        let old = mem::replace(&mut self.keys[place], key);
        self.breakers.remove(&old);
        if let Spared::NotClosed(left) = spared {
            self.aside.put(self.most, self.breakers.hasher().hash_one(old), left);
        }
    }

    /// What somebody else holds cannot be spared: a call that is under way, or a user who may steer it yet.
    fn spare(&self, place: usize) -> Option<Spared> {
        let handle = self.breakers.get(&self.keys[place])?;
        if Arc::strong_count(handle) == 1 { handle.0.spare() } else { None }
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("most", &self.most()).finish_non_exhaustive()
    }
}

impl Hash for ByBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}
