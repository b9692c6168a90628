//! The atomics and the lock that a model checker can take the place of.

#[cfg(bartizan_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
#[cfg(not(bartizan_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};
