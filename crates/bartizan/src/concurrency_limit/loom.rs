//! Every interleaving of two threads at one gate. What they hold is given back, and nobody waits in vain.

use super::gate::{Gate, Joined, Permit};
use loom::{sync::Arc, thread};

/// What somebody has who would wait: now, or when all others are done.
fn comes_in(joined: Joined) -> Option<Permit> {
    match joined {
        Joined::Entered(permit) => Some(permit),
        Joined::Waiting(mut ticket) => ticket.turn(),
        Joined::QueueFull => None,
    }
}

#[test]
fn loom_one_permit_is_given_once() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let other = Arc::clone(&gate);
        let racer = thread::spawn(move || Gate::enter(&other));
        let here = Gate::enter(&gate);
        let there = racer.join().unwrap();
        assert!(here.is_some() != there.is_some(), "exactly one is in");
        drop((here, there));
        assert_eq!(gate.in_flight(), 0);
    });
}

#[test]
fn loom_who_waits_is_not_forgotten_by_who_leaves() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let held = Gate::enter(&gate);
        let racer = thread::spawn(move || drop(held));
        let joined = Gate::enter_or_join(&gate, 1);
        racer.join().unwrap();
        let permit = comes_in(joined);
        assert!(permit.is_some() && gate.in_flight() == 1);
        drop(permit);
        assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
    });
}

#[test]
fn loom_a_permit_for_one_who_gives_up_is_not_lost() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let held = Gate::enter(&gate);
        let (first, second) = (Gate::enter_or_join(&gate, 2), Gate::enter_or_join(&gate, 2));
        let racer = thread::spawn(move || drop(held));
        drop(first);
        racer.join().unwrap();
        let permit = comes_in(second);
        assert!(permit.is_some() && gate.in_flight() == 1);
        drop(permit);
        assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
    });
}

#[test]
fn loom_the_last_who_gives_up_beside_one_who_leaves() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let held = Gate::enter(&gate);
        let waiting = Gate::enter_or_join(&gate, 1);
        let racer = thread::spawn(move || drop(held));
        drop(waiting);
        racer.join().unwrap();
        assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
        assert!(Gate::enter(&gate).is_some(), "the gate is open");
    });
}

#[test]
fn loom_a_resize_beside_one_who_leaves_lets_in_as_many_as_there_is_room_for() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1));
        let held = Gate::enter(&gate);
        let waiting = [Gate::enter_or_join(&gate, 2), Gate::enter_or_join(&gate, 2)];
        let racer = thread::spawn(move || drop(held));
        Gate::resize(&gate, 2);
        racer.join().unwrap();
        let permits = waiting.map(comes_in);
        assert!(permits.iter().all(Option::is_some) && gate.in_flight() == 2);
        drop(permits);
        assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
    });
}

#[test]
fn loom_a_shrink_beside_one_who_enters_is_not_undone() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(2));
        let held = Gate::enter(&gate);
        let other = Arc::clone(&gate);
        let racer = thread::spawn(move || Gate::enter(&other));
        Gate::resize(&gate, 1);
        let second = racer.join().unwrap();
        assert_eq!(gate.in_flight(), 1 + u32::from(second.is_some()));
        drop(second);
        assert!(Gate::enter(&gate).is_none(), "one is in, and one may be");
        drop(held);
        assert!(Gate::enter(&gate).is_some());
    });
}
