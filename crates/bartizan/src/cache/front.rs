//! What is asked for again and again, found without asking the map.
//!
//! A look-up in the map costs a hash, a walk through its table, a look at its clock and a note that somebody has asked. For
//! the few keys that are asked for all the time it is enough to do so now and then.

use super::{entry::Resource, lanes::Lanes, mix::mix};
use std::{
    iter,
    sync::{
        Arc, Weak,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};
use tokio::time::Instant;

/// For each processor the last keys that were asked for twice in a row, of those that share a place, and what is stored
/// under them. That may be nothing: what is gone is asked for as often as before.
///
/// A change of what is stored counts for all keys that share its count: who looks here sees whether there has been one since.
/// What is here is not held, so that nothing stays in memory for it.
pub(super) struct Front {
    lanes: Lanes<Box<[Place]>>,
    changes: Box<[AtomicU64]>,
}

/// A key as this knows it: the same for the same keys, and mostly another one for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hint(u64);

/// What is stored under a key, and until when; or nothing.
pub(super) type Found = Option<(Arc<Resource>, Instant)>;

/// What was known when the map was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    hint: Hint,
    changes: u64,
}

#[derive(Default)]
struct Place {
    /// Who asked last and was not seated.
    stands: Hint,
    seat: Option<Seat>,
}

struct Seat {
    key: Box<[u8]>,
    found: Option<(Weak<Resource>, Instant)>,
    changes: u64,
    /// How often it is still found here before the map is asked again.
    left: u8,
}

/// Of what is found here the map hears once in so many times. What is found so often is popular in any case.
const TOLD: u8 = 8;
const PLACES: usize = 64;
const CHANGES: usize = 1024;
/// Longer keys are not worth their memory.
const LONGEST: usize = 256;

// ===== impl Front =====

impl Front {
    pub(super) fn new() -> Self {
        Self {
            lanes: Lanes::new(|| iter::repeat_with(Place::default).take(PLACES).collect()),
            changes: iter::repeat_with(AtomicU64::default).take(CHANGES).collect(),
        }
    }

    /// What is known to be stored under a key; or what has to be shown with what the map says.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Result<Found, Turn> {
        let hint = Hint::of(key);
        // Looked at before the map is: what changes from here on is known to be newer.
        let turn = Turn { hint, changes: self.changes_of(hint).load(Acquire) };
        let mut lane = self.lanes.own().ok_or(turn)?;
        let seat = lane[hint.index(PLACES)].seat.as_mut();
        let seat =
            seat.filter(|seat| seat.left > 0 && seat.changes == turn.changes && *seat.key == *key).ok_or(turn)?;
        let found = match &seat.found {
            Some((resource, until)) => Some((resource.upgrade().ok_or(turn)?, *until)),
            None => None,
        };
        seat.left -= 1;
        Ok(found)
    }

    /// What the map has said.
    #[inline]
    pub(super) fn learn(&self, turn: Turn, key: &[u8], found: &Found) {
        let Turn { hint, changes } = turn;
        let Some(mut lane) = self.lanes.own() else { return };
        let place = &mut lane[hint.index(PLACES)];
        let weak = || found.as_ref().map(|(resource, until)| (Arc::downgrade(resource), *until));
        if let Some(seat) = place.seat.as_mut().filter(|seat| *seat.key == *key) {
            (seat.changes, seat.left) = (changes, TOLD - 1);
            match (&mut seat.found, found) {
                (Some((known, known_until)), Some((resource, until))) if known.as_ptr() == Arc::as_ptr(resource) => {
                    *known_until = *until;
                }
                (known, _) => *known = weak(),
            }
        } else if place.stands == hint && key.len() <= LONGEST {
            place.seat = Some(Seat { key: key.into(), found: weak(), changes, left: TOLD - 1 });
        } else {
            place.stands = hint;
        }
    }

    /// To be told when what is stored under a key has been changed, and before the change is told to anybody.
    pub(super) fn changed(&self, key: &[u8]) {
        self.changes_of(Hint::of(key)).fetch_add(1, Release);
    }

    /// The same of all keys.
    pub(super) fn all_changed(&self) {
        for changes in &self.changes {
            changes.fetch_add(1, Release);
        }
    }

    #[inline]
    fn changes_of(&self, hint: Hint) -> &AtomicU64 {
        &self.changes[hint.index(CHANGES)]
    }
}

// ===== impl Hint =====

impl Hint {
    /// No secret is in it. Who looks for keys with the same place takes away their seats, and no more.
    #[inline]
    fn of(key: &[u8]) -> Self {
        Self(mix(0, key))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a few of its upper bits")]
    fn index(self, places: usize) -> usize {
        (self.0 >> 32) as usize % places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> Arc<Resource> {
        Arc::new(Resource { entries: Vec::new() })
    }

    /// Asks as the memory does; whether it was found here.
    fn ask(front: &Front, key: &[u8], stored: &Arc<Resource>) -> bool {
        match front.find(key) {
            Ok(found) => found.is_some_and(|(found, _)| Arc::ptr_eq(&found, stored)),
            Err(turn) => {
                front.learn(turn, key, &Some((Arc::clone(stored), Instant::now())));
                false
            }
        }
    }

    #[test]
    fn what_is_asked_for_a_third_time_is_found_and_the_map_hears_of_one_in_eight() {
        let (front, stored) = (Front::new(), resource());
        let found: Vec<bool> = (0..18).map(|_| ask(&front, b"a key that is long enough", &stored)).collect();
        let expected: Vec<bool> = (0..18).map(|nth| nth > 1 && nth % 8 != 1).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_changed_or_is_gone_is_not_found() {
        let (front, stored, key) = (Front::new(), resource(), b"a key");
        let seated = || {
            for _ in 0..4 {
                ask(&front, key, &stored);
            }
            assert!(front.find(key).is_ok());
        };
        seated();
        front.changed(key);
        assert!(front.find(key).is_err());
        seated();
        front.all_changed();
        assert!(front.find(key).is_err());
        seated();
        drop(stored);
        assert!(front.find(key).is_err(), "it holds nothing");
    }

    #[test]
    fn what_the_map_said_before_a_change_is_not_believed_after_it() {
        let (front, stored, key) = (Front::new(), resource(), b"a key");
        ask(&front, key, &stored);
        let Err(turn) = front.find(key) else { panic!("it is not seated yet") };
        front.changed(key);
        front.learn(turn, key, &Some((stored, Instant::now())));
        assert!(front.find(key).is_err());
    }

    #[test]
    fn that_nothing_is_stored_is_known_until_something_is() {
        let (front, key) = (Front::new(), b"a key");
        let mut asked = 0;
        for _ in 0..18 {
            match front.find(key) {
                Ok(found) => assert!(found.is_none()),
                Err(turn) => {
                    front.learn(turn, key, &None);
                    asked += 1;
                }
            }
        }
        assert_eq!(asked, 4, "the map hears of it as of what is stored");
        front.changed(key);
        assert!(front.find(key).is_err());
        let stored = resource();
        assert!(!ask(&front, key, &stored) && ask(&front, key, &stored));
        front.changed(key);
        assert!(front.find(key).is_err());
    }

    #[test]
    fn keys_that_share_a_place_are_told_apart() {
        let (front, one, other) = (Front::new(), resource(), resource());
        let place = |key: &str| Hint::of(key.as_bytes()).index(PLACES);
        let first = "a key of which there are others".to_owned();
        let second = (0..).map(|nth| format!("another key, the {nth}th")).find(|key| place(key) == place(&first));
        let keys = [first, second.expect("there are few places")];
        let mut found = 0;
        for (key, stored) in keys.iter().zip([&one, &other]).cycle().step_by(3).take(30) {
            for _ in 0..4 {
                if let Ok(Some((seated, _))) = front.find(key.as_bytes()) {
                    assert!(Arc::ptr_eq(&seated, stored));
                    found += 1;
                }
                ask(&front, key.as_bytes(), stored);
            }
        }
        assert!(found >= 30, "each of them gets the seat: {found}");
    }

    #[test]
    fn tenants_that_ask_for_the_same_in_turn_do_not_take_each_other_s_seats() {
        let places = ["acme", "glob"].map(|tenant| Hint::of(format!("{tenant}h-shop.example\0/shoes").as_bytes()));
        assert_ne!(places[0], places[1]);
        let whose = (0..64).map(|nth| Hint::of(format!("{nth:02}h-shop.example\0/shoes").as_bytes()).index(PLACES));
        let different: std::collections::HashSet<_> = whose.collect();
        assert!(different.len() > 30, "{}", different.len());
    }
}
