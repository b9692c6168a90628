//! What the replicas of the orders share.

use super::{Order, Purchase};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// The orders that were placed: their number, and the last few of those that came with a key.
#[derive(Clone, Debug, Default)]
pub(in crate::services) struct Database {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    placed: u64,
    by_key: VecDeque<(Key, Purchase, Order)>,
}

/// Who chose it, and what they chose.
pub(super) type Key = (Vec<u8>, Vec<u8>);

/// An order that stands.
#[derive(Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) order: Order,
    /// Whether it stood before.
    pub(super) again: bool,
}

/// The key came with another order before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyUsedOtherwise;

/// How many keys are remembered. A real service keeps them for a day or so, somewhere that outlives it.
const KEYS: usize = 100;

// ===== impl Database =====

impl Database {
    pub(super) fn place(
        &self,
        key: Option<Key>,
        purchase: &Purchase,
        item: &'static str,
        price: u64,
    ) -> Result<Placed, KeyUsedOtherwise> {
        // Looked up and written down under one lock, so that of two that come at once one is the second.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = key.as_ref().and_then(|key| table.by_key.iter().find(|(known, ..)| known == key));
        if let Some((_, before, order)) = known {
            return match before == purchase {
                true => Ok(Placed { order: order.clone(), again: true }),
                false => Err(KeyUsedOtherwise),
            };
        }
        table.placed += 1;
        let order = Order {
            id: 9_100_000_000 + table.placed,
            user: purchase.user.clone(),
            total_cents: price,
            currency: "EUR",
            item,
            internal_ref: None,
        };
        if let Some(key) = key {
            table.by_key.truncate(KEYS - 1);
            table.by_key.push_front((key, purchase.clone(), order.clone()));
        }
        Ok(Placed { order, again: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(key: usize) -> Option<Key> {
        Some((b"acme".to_vec(), key.to_string().into_bytes()))
    }

    fn place(database: &Database, key: Option<Key>, item: &'static str) -> Result<(u64, bool), KeyUsedOtherwise> {
        let purchase = Purchase { user: "u1".to_owned(), item: item.to_owned() };
        database.place(key, &purchase, item, 4_900).map(|placed| (placed.order.id % 1000, placed.again))
    }

    #[test]
    fn a_key_places_one_order_however_often_it_comes() {
        let database = Database::default();
        assert_eq!(place(&database, key(1), "lamp"), Ok((1, false)));
        assert_eq!(place(&database, key(1), "lamp"), Ok((1, true)));
        assert_eq!(place(&database.clone(), key(1), "desk"), Err(KeyUsedOtherwise));
        let of_another = Some((b"globex".to_vec(), b"1".to_vec()));
        assert_eq!(place(&database, of_another, "desk"), Ok((2, false)));
        assert_eq!(place(&database, None, "lamp"), Ok((3, false)));
        assert_eq!(place(&database, None, "lamp"), Ok((4, false)));
    }

    #[test]
    fn only_the_last_keys_are_kept() {
        let database = Database::default();
        for number in 0..=KEYS {
            assert!(!place(&database, key(number), "lamp").unwrap().1);
        }
        assert_eq!(database.table.lock().unwrap().by_key.len(), KEYS);
        assert!(place(&database, key(KEYS), "lamp").unwrap().1, "the last one is known");
        assert!(!place(&database, key(0), "lamp").unwrap().1, "the first one is not, any more");
    }
}
