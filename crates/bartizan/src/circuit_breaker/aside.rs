//! What is kept of breakers that were open, and had to make room.

use super::machine::Machine;
use tokio::time::Instant;

/// By the hash of its key, which has a secret, each has a set with a few places.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// None until something is set aside.
    sets: Box<[Set]>,
}

/// What was set aside last is first.
type Set = [Option<(u64, Left)>; PLACES];

/// All that a breaker is while nobody calls and it is not closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    /// What the times of the machine count from.
    pub(super) birth: Instant,
    pub(super) machine: Machine,
}

const PLACES: usize = 4;

/// What a set takes.
#[cfg(all(test, not(bartizan_loom)))]
pub(super) const SET: usize = size_of::<Set>();

// ===== impl Aside =====

impl Aside {
    /// For so many keys there are as many sets, all of them made at once when the first is needed: a set is found by the
    /// hash alone, so they cannot grow one by one. If the places of one are taken, what was set aside the longest ago is
    /// forgotten.
    pub(super) fn put(&mut self, keys: usize, hash: u64, left: Left) {
        if self.sets.is_empty() {
            self.sets = (0..keys.max(1)).map(|_| Set::default()).collect();
        }
        let Some(set) = self.set(hash) else { return };
        let last = set.iter().position(Option::is_none).unwrap_or(PLACES - 1);
        set[..=last].rotate_right(1);
        set[0] = Some((hash, left));
    }

    pub(super) fn take(&mut self, hash: u64) -> Option<Left> {
        let is_its = |place: &&mut Option<(u64, Left)>| place.is_some_and(|(of, _)| of == hash);
        let (_, left) = self.set(hash)?.iter_mut().find(is_its)?.take()?;
        Some(left)
    }

    fn set(&mut self, hash: u64) -> Option<&mut Set> {
        let set = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default().checked_rem(self.sets.len())?;
        self.sets.get_mut(set)
    }
}
