//! Every interleaving of two threads over a budget.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use super::{
    crowd::Crowd,
    ledger::{Grant, Ledger},
};
use loom::{model, sync::Arc, thread};

/// Where many slots begin at once, two threads have more interleavings than can be tried: those in which a thread is
/// interrupted three times at most.
fn of_three_changes(check: impl Fn() + Send + Sync + 'static) {
    let mut model = model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(check);
}

#[test]
fn the_last_retry_is_granted_once() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(0.0, 1)));
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.withdraw(0).is_some());
        let here = ledger.withdraw(0).is_some();
        assert!(here != racer.join().unwrap(), "exactly one of two is granted");
    });
}

/// A slot begins while somebody withdraws and somebody deposits: nobody gets more than there is, and nothing is lost.
#[test]
fn a_window_that_moves_on_grants_no_more() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(0.5, 0)));
        ledger.deposit(0);
        ledger.deposit(0);
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.withdraw(1).is_some());
        ledger.deposit(1);
        let here = ledger.withdraw(1).is_some();
        let granted = u32::from(here) + u32::from(racer.join().unwrap());
        assert_eq!(granted, 1, "three requests pay for one retry, and a half");
        ledger.deposit(2);
        assert!(ledger.withdraw(2).is_some(), "four pay for two");
        assert!(ledger.withdraw(2).is_none());
    });
}

/// A refund while a slot begins and somebody withdraws: never more than one is out.
#[test]
fn a_refund_while_the_window_moves_grants_no_more() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(0.0, 1)));
        let counted = ledger.withdraw(0).expect("there is one");
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.withdraw(1).is_some());
        ledger.refund(counted);
        let racer = racer.join().unwrap();
        assert!(!(racer && ledger.withdraw(1).is_some()), "there is one retry, and it was granted");
    });
}

/// The window passes over what was deposited while somebody withdraws: that is paid by the old deposit or by the new one,
/// and neither pays twice. What comes at that very moment may count as a slot older than it is, and never as newer.
#[test]
fn nothing_pays_twice_while_the_window_moves() {
    of_three_changes(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(1.0, 0)));
        ledger.deposit(0);
        // One slot at a time, or there were too much to try.
        ledger.refund(ledger.withdraw(9).expect("it is paid for"));
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.withdraw(10).is_some());
        ledger.deposit(10);
        ledger.withdraw(10);
        racer.join().unwrap();
        assert!(ledger.withdraw(10).is_none(), "one deposit at most was in the window");
        ledger.deposit(30);
        let granted = (ledger.withdraw(30).is_some(), ledger.withdraw(30).is_some());
        assert_eq!(granted, (true, false), "and nothing of it lingers");
    });
}

/// One retry in a window of ten slots was granted in slot 9: in slot 16 that is still in the window, from 7 on.
#[test]
fn after_a_quiet_time_the_spent_retry_is_still_spent() {
    of_three_changes(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(0.0, 1)));
        assert!(ledger.withdraw(9).is_some());
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.withdraw(16).is_some());
        let here = ledger.withdraw(16).is_some();
        let there = racer.join().unwrap();
        assert!(!here && !there, "granted again within the window");
    });
}

#[test]
fn a_refund_beside_a_withdrawal_is_not_lost() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::new(Grant::new(0.0, 1)));
        assert!(ledger.withdraw(0).is_some());
        let other = Arc::clone(&ledger);
        let racer = thread::spawn(move || other.deposit(0));
        ledger.refund(0);
        racer.join().unwrap();
        assert!(ledger.withdraw(0).is_some());
        assert!(ledger.withdraw(0).is_none());
    });
}

#[test]
fn the_last_place_in_flight_is_given_once() {
    loom::model(|| {
        let crowd = Arc::new(Crowd::new(Grant::new(0.0, 1)));
        crowd.enter();
        let other = Arc::clone(&crowd);
        let racer = thread::spawn(move || other.join());
        crowd.enter();
        let here = crowd.join();
        assert!(here != racer.join().unwrap());
        crowd.part();
        crowd.leave();
        crowd.leave();
        assert_eq!(crowd.at_once(), (0, 0));
    });
}
