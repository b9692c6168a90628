//! A breaker for each key, and no more of them than fit.

use super::core::{Core, Handle};
use bartizan_store::Key;
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

/// The breakers of all keys, in so many parts that two requests rarely meet.
pub(super) struct Keyed {
    parts: Box<[RwLock<HashMap<ByBytes, Arc<Handle>, RandomState>>]>,
    hasher: RandomState,
    /// How many keys a part may hold.
    most: usize,
}

/// A key that is hashed by as many bytes as it has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ByBytes(Key);

pub(super) const MOST_KEYS: usize = 1024;
const PARTS: usize = 16;

// ===== impl Keyed =====

impl Keyed {
    pub(super) fn new(most: usize) -> Self {
        let parts = PARTS.min(most.max(1));
        let hasher = RandomState::new();
        let part = || RwLock::new(HashMap::with_hasher(hasher.clone()));
        Self { parts: (0..parts).map(|_| part()).collect(), most: most.div_ceil(parts), hasher }
    }

    /// The breaker of a key, made if need be. `None` if there is no room, because none that is there can be spared.
    pub(super) fn of(&self, key: Key, make: impl FnOnce() -> Core) -> Option<Arc<Handle>> {
        let key = ByBytes(key);
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default();
        let part = &self.parts[hash % self.parts.len()];
        if let Some(core) = part.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(Arc::clone(core));
        }
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        if !part.contains_key(&key) && part.len() >= self.most {
            let expendable = part.iter().find(|(_, core)| core.0.is_expendable()).map(|(key, _)| *key)?;
            part.remove(&expendable);
        }
        Some(Arc::clone(part.entry(key).or_insert_with(|| Handle::new(&Arc::new(make())))))
    }

    pub(super) fn most(&self) -> usize {
        self.most * self.parts.len()
    }

    pub(super) fn all(&self) -> Vec<(Key, Arc<Handle>)> {
        let mut all = Vec::new();
        for part in &self.parts {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(part.iter().map(|(key, core)| (key.0, Arc::clone(core))));
        }
        all
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
