//! The lock, so that loom can put its own in its place.

#[cfg(not(bartizan_loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(bartizan_loom)]
pub(crate) use self::loomed::{Mutex, MutexGuard};

#[cfg(bartizan_loom)]
mod loomed {
    pub(crate) use loom::sync::MutexGuard;

    /// loom's lock with parking_lot's manners: it is never poisoned.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}
