//! What is let go of out of line.

use std::mem::ManuallyDrop;

/// Something that is seldom there when its owner is dropped, and is then let go of out of line.
///
/// What drops a future or a body stands wherever one is handed on. Where that is short, the compiler puts it in place, and
/// need not copy a whole response out of its way.
#[derive(Clone, Debug)]
pub(crate) struct ColdDrop<T>(ManuallyDrop<Option<T>>);

impl<T> ColdDrop<T> {
    #[inline]
    pub(crate) fn new(value: Option<T>) -> Self {
        Self(ManuallyDrop::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    #[cold]
    #[inline(never)]
    fn let_go(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for ColdDrop<T> {
    fn default() -> Self {
        Self::new(None)
    }
}

impl<T> Drop for ColdDrop<T> {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{mem::size_of, sync::Arc};

    #[test]
    fn what_is_there_is_let_go_of_once_and_what_was_taken_is_not() {
        let shared = Arc::new(());
        drop(ColdDrop::new(Some(Arc::clone(&shared))));
        assert_eq!(Arc::strong_count(&shared), 1);

        let mut kept = ColdDrop::new(Some(Arc::clone(&shared)));
        let taken = kept.take();
        drop(kept);
        assert_eq!((taken.is_some(), Arc::strong_count(&shared)), (true, 2));
    }

    #[test]
    fn it_takes_no_room_beyond_an_option() {
        assert_eq!(size_of::<ColdDrop<Arc<()>>>(), size_of::<Option<Arc<()>>>());
    }
}
