//! Who waits for the next frame of a body.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
};

/// The readers who wait for the next frame. All are woken: the one who polled last may be gone.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<(u32, Waker)>>);

// ===== impl Waiting =====

impl Waiting {
    /// A reader waits, and is woken in the way that it said last.
    pub(super) fn join(&self, reader: u32, waker: &Waker) {
        let mut all = self.lock();
        match all.iter_mut().find(|(waiting, _)| *waiting == reader) {
            Some((_, waiting)) => waiting.clone_from(waker),
            None => all.push((reader, waker.clone())),
        }
    }

    pub(super) fn leave(&self, reader: u32) {
        let mut all = self.lock();
        let left = all.iter().position(|(waiting, _)| *waiting == reader).map(|at| all.swap_remove(at));
        // Whatever it was that would have been woken, it is not dropped while others wait for the lock.
        drop(all);
        drop(left);
    }

    /// Wakes all but the one who is being polled.
    pub(super) fn wake_but(&self, but: Option<u32>) {
        let all = mem::take(&mut *self.lock());
        for (reader, waker) in all {
            if but != Some(reader) {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u32, Waker)>> {
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
