//! Who waits for the next frame.

use crate::shared::sync::{Mutex, MutexGuard};
use smallvec::SmallVec;
use std::{
    sync::{Arc, PoisonError},
    task::{Wake, Waker},
};

/// The wakers of all who wait. It is itself what the origin's body wakes: all are woken, as the one who polled last may
/// be gone.
pub(super) struct Waiting(Mutex<Vec<Option<Waker>>>);

// ===== impl Waiting =====

impl Waiting {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The one in this slot waits. What it said before is returned, to be dropped when no lock is held: a waker may be
    /// the last that holds a task, and a task may hold readers.
    #[must_use]
    pub(super) fn join(&self, slot: usize, waker: &Waker) -> Option<Waker> {
        let mut all = self.lock();
        if all.len() <= slot {
            all.resize(slot + 1, None);
        }
        match &mut all[slot] {
            Some(waiting) if waiting.will_wake(waker) => None,
            waiting => waiting.replace(waker.clone()),
        }
    }

    /// As with [`join`](Self::join), what is returned is to be dropped when no lock is held.
    #[must_use]
    pub(super) fn leave(&self, slot: usize) -> Option<Waker> {
        self.lock().get_mut(slot).and_then(Option::take)
    }

    /// Wakes all but the one that is being polled, which may be about to wait.
    pub(super) fn wake_but(&self, but: Option<usize>) {
        let mut woken = SmallVec::<[Waker; 8]>::new();
        let mut all = self.lock();
        for (slot, waiting) in all.iter_mut().enumerate() {
            if Some(slot) != but {
                woken.extend(waiting.take());
            }
        }
        drop(all);
        for waker in woken {
            waker.wake();
        }
    }

    /// A waker whose clone panicked has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_but(None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_but(None);
    }
}
