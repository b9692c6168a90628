//! Records that have served, and wait on their thread for the next request.

use super::record::Record;
use std::cell::RefCell;

/// How many a thread keeps: more than are needed unless a burst of requests has just ended.
const MOST: usize = 64;

// Boxed, so that a record moves from hand to hand as one pointer.
#[allow(clippy::vec_box, reason = "they are lent out in their boxes")]
type Spare = Vec<Box<Record>>;

thread_local!(static SPARE: RefCell<Spare> = const { RefCell::new(Vec::new()) });

/// An empty record.
#[inline]
pub(super) fn take() -> Box<Record> {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
    spare.ok().flatten().unwrap_or_default()
}

/// Keeps a record for later, if it is not one too many. A thread that is just ending keeps none.
#[inline]
pub(super) fn give_back(mut record: Box<Record>) {
    // What is in a record may be another's to drop, and may come by here itself: not while the spare ones are borrowed.
    record.clear();
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < MOST
        {
            spare.push(record);
        }
    });
}
