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
pub(super) fn take() -> Box<Record> {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
    spare.ok().flatten().unwrap_or_else(|| Box::new(Record::new()))
}

/// Keeps a record for later, unless it is one too many. A thread that is just ending keeps none.
pub(super) fn give_back(mut record: Box<Record>) {
    record.recycle();
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.len() < MOST
        {
            spare.push(record);
        }
    });
}
