//! How much all bodies that are kept may take together.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How much all bodies that are kept for another attempt may take together: a handle, its clones are the same.
///
/// What holds a frame counts as well as its bytes, about 32 for each, so that tiny ones take what they cost.
/// What finds no place streams all the same, and can be sent once.
#[derive(Clone)]
pub struct ReplayMemory {
    place: Arc<Place>,
}

struct Place {
    most: usize,
    used: AtomicUsize,
}

/// A part of the memory, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    memory: ReplayMemory,
    bytes: usize,
}

// ===== impl ReplayMemory =====

impl ReplayMemory {
    /// So many bytes in all.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { place: Arc::new(Place { most, used: AtomicUsize::new(0) }) }
    }

    /// The one of this process, 64 MiB, that every layer uses unless it is given another.
    #[must_use]
    pub fn of_process() -> Self {
        static PROCESS: LazyLock<ReplayMemory> = LazyLock::new(|| ReplayMemory::new(64 * 1024 * 1024));
        PROCESS.clone()
    }

    /// How many bytes are taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.place.used.load(Ordering::Relaxed)
    }

    /// A part that is empty as yet.
    pub(super) fn part(&self) -> Taken {
        Taken { memory: self.clone(), bytes: 0 }
    }
}

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayMemory").field("most", &self.place.most).field("used", &self.used()).finish()
    }
}

// ===== impl Taken =====

impl Taken {
    /// Takes more, if there is so much.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let place = &self.memory.place;
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= place.most);
        let grown = place.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Gives all of it back.
    pub(super) fn clear(&mut self) {
        self.memory.place.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.clear();
    }
}
