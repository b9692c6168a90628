//! One of something for each processor, so that threads do not wait for each other.

use super::statistics::{lane, lanes};
use parking_lot::{Mutex, MutexGuard};
use std::iter;

/// Threads share as many as there are processors. Who finds his own taken does without.
pub(super) struct Lanes<T>(Box<[Lane<T>]>);

#[repr(align(128))]
struct Lane<T>(Mutex<T>);

// ===== impl Lanes =====

impl<T> Lanes<T> {
    pub(super) fn new(one: impl FnMut() -> T) -> Self {
        Self(iter::repeat_with(one).take(lanes()).map(|one| Lane(Mutex::new(one))).collect())
    }

    /// This thread's own, unless another thread has it right now.
    #[inline]
    pub(super) fn own(&self) -> Option<MutexGuard<'_, T>> {
        self.0[lane() & (self.0.len() - 1)].0.try_lock()
    }
}
