//! Every interleaving of two threads over one breaker.

use super::{
    breaker::State,
    core::{Asked, Core, Handle},
    outcome::Outcome,
    permit::Permit,
    policy::BreakerPolicy,
    window::{Mark, Tally, Window},
};
use http::HeaderMap;
use loom::thread;
use std::{sync::Arc, time::Duration};

const LONG: Duration = Duration::from_secs(60 * 60);
const FAILURE: Mark = Mark { failed: 100, slow: false };
const SUCCESS: Mark = Mark { failed: 0, slow: false };

fn core(policy: BreakerPolicy) -> Arc<Core> {
    Arc::new(Core::new(policy.open_for(LONG, LONG), 1, None, super::breaker::Mode::Normal, None))
}

fn pass(core: &Arc<Core>) -> Option<Permit> {
    let handle = Handle::new(core);
    match handle.ask(false) {
        Asked::Pass(pass) => Some(pass.permit(&handle)),
        Asked::PassUncounted | Asked::Refuse(_) | Asked::WouldRefuse(_) => None,
    }
}

fn both<T: Send + 'static>(
    one: impl FnOnce() -> T + Send + 'static,
    other: impl FnOnce() -> T + Send + 'static,
) -> (T, T) {
    let racer = thread::spawn(one);
    let here = other();
    (racer.join().expect("no panic"), here)
}

#[test]
fn two_failures_at_once_open_it_once() {
    for policy in [BreakerPolicy::consecutive_failures(2), BreakerPolicy::failure_rate(1.0).over(2)] {
        for policy in [policy, policy.of_last(2)] {
            loom::model(move || {
                let core = core(policy);
                let [one, other] = [pass(&core), pass(&core)].map(|permit| permit.expect("it is closed"));
                both(move || one.settle(Outcome::Failure, None), move || other.settle(Outcome::Failure, None));
                assert_eq!((core.state(), core.snapshot().opened), (State::Open, 1));
            });
        }
    }
}

#[test]
fn a_success_beside_a_failure_is_counted() {
    loom::model(|| {
        let core = core(BreakerPolicy::consecutive_failures(2));
        let [one, other] = [pass(&core), pass(&core)].map(|permit| permit.expect("it is closed"));
        both(move || one.settle(Outcome::Failure, None), move || other.settle(Outcome::Success, None));
        let snapshot = core.snapshot();
        assert_eq!((snapshot.state, snapshot.calls, snapshot.failed), (State::Closed, 2, 100));
        assert!(snapshot.consecutive <= 1);
    });
}

/// A call whose head was a good one.
fn answered(core: &Arc<Core>) -> Option<Permit> {
    pass(core)?.answered(Outcome::Success.into(), &HeaderMap::new())
}

/// Both, and not what failed at the head before: more than one good head has come since.
#[test]
fn two_bodies_that_break_at_once_open_it_beside_a_good_head() {
    for (most, expected) in [(2, (State::Open, 1, 0)), (3, (State::Closed, 0, 2))] {
        loom::model(move || {
            let core = core(BreakerPolicy::consecutive_failures(most));
            pass(&core).expect("it is closed").settle(Outcome::Failure, None);
            let [one, other] = [answered(&core), answered(&core)].map(|permit| permit.expect("it is closed"));
            let heads = Arc::clone(&core);
            let break_one = move || {
                one.settle(Outcome::Failure, None);
                None
            };
            let head = both(break_one, move || {
                let head = answered(&heads);
                other.settle(Outcome::Failure, None);
                head
            });
            let snapshot = core.snapshot();
            assert_eq!((core.state(), snapshot.opened, snapshot.consecutive), expected);
            drop(head);
        });
    }
}

#[test]
fn a_good_head_beside_a_failure_ends_what_was_before_both() {
    loom::model(|| {
        let core = core(BreakerPolicy::consecutive_failures(3));
        let [before, beside] = [pass(&core), pass(&core)].map(|permit| permit.expect("it is closed"));
        before.settle(Outcome::Failure, None);
        let heads = Arc::clone(&core);
        let (head, _) = both(
            move || answered(&heads),
            move || {
                beside.settle(Outcome::Failure, None);
                None
            },
        );
        assert!(core.snapshot().consecutive <= 1);
        head.expect("it was answered").settle(Outcome::Failure, None);
        assert!((2..=3).contains(&(core.snapshot().consecutive + 3 * core.snapshot().opened)));
    });
}

#[test]
fn a_body_that_ends_well_beside_one_that_breaks_ends_all_before_it() {
    loom::model(|| {
        let core = core(BreakerPolicy::consecutive_failures(3));
        let [one, other] = [answered(&core), answered(&core)].map(|permit| permit.expect("it is closed"));
        pass(&core).expect("it is closed").settle(Outcome::Failure, None);
        both(move || one.settle(Outcome::Failure, None), move || other.settle(Outcome::Success, None));
        assert!(core.snapshot().consecutive <= 1);
        assert_eq!((core.state(), core.snapshot().calls), (State::Closed, 3));
    });
}

#[test]
fn a_failure_beside_a_reset_is_of_one_side_of_it() {
    loom::model(|| {
        let core = core(BreakerPolicy::failure_rate(1.0).over(1));
        let permit = pass(&core).expect("it is closed");
        let resets = Arc::clone(&core);
        both(move || permit.settle(Outcome::Failure, None), move || resets.force(super::breaker::Mode::Normal));
        let snapshot = core.snapshot();
        assert_eq!((snapshot.state, snapshot.calls, snapshot.failed), (State::Closed, 0, 0));
        assert_eq!((snapshot.opened, snapshot.consecutive), (0, 0));
    });
}

#[test]
fn one_place_for_a_probe_is_given_once() {
    loom::model(|| {
        let core = core(BreakerPolicy::new().probes(1, 1));
        let open = super::breaker::Snapshot { state: State::Open, ..core.snapshot() };
        core.restore(&open);
        let other = Arc::clone(&core);
        let (one, other) = both(move || pass(&other), move || pass(&core));
        assert!(one.is_some() != other.is_some());
        drop((one, other));
    });
}

#[test]
fn of_two_that_fail_in_two_lanes_one_sees_both() {
    loom::model(|| {
        let window = Arc::new(Window::new(&BreakerPolicy::new(), 2));
        let [one, other] = [(0, Arc::clone(&window)), (1, window)].map(|(lane, window)| {
            move || {
                window.add(1, lane, FAILURE, || 0);
                window.tally(1, 0).failed
            }
        });
        let (one, other) = both(one, other);
        assert!(one == 200 || other == 200, "{one} and {other}");
    });
}

/// The one counts itself into a window of one call, the other pushes it out.
#[test]
fn what_is_pushed_out_of_a_ring_is_taken_out_of_its_sums() {
    loom::model(|| {
        let window = Arc::new(Window::new(&BreakerPolicy::new().of_last(1), 1));
        let other = Arc::clone(&window);
        let one = Arc::clone(&window);
        both(move || other.add(1, 0, FAILURE, || 0), move || one.add(1, 0, SUCCESS, || 0));
        window.add(1, 0, SUCCESS, || 0);
        assert_eq!(window.tally(1, 0), Tally { calls: 1, failed: 0, slow: 0 });
    });
    loom::model(|| {
        let window = Arc::new(Window::new(&BreakerPolicy::new().of_last(1), 1));
        let [one, other] = [Arc::clone(&window), Arc::clone(&window)];
        both(move || one.add(1, 0, FAILURE, || 0), move || other.add(1, 0, FAILURE, || 0));
        assert_eq!(window.tally(1, 0), Tally { calls: 1, failed: 100, slow: 0 });
        window.add(1, 0, SUCCESS, || 0);
        assert_eq!(window.tally(1, 0), Tally { calls: 1, failed: 0, slow: 0 });
    });
}

#[test]
fn an_earlier_epoch_leaves_nothing_in_a_later_one() {
    for policy in [BreakerPolicy::new(), BreakerPolicy::new().of_last(2)] {
        loom::model(move || {
            let window = Arc::new(Window::new(&policy, 1));
            let [one, other] = [Arc::clone(&window), Arc::clone(&window)];
            both(move || one.add(1, 0, FAILURE, || 0), move || other.add(2, 0, FAILURE, || 0));
            assert_eq!(window.tally(2, 0), Tally { calls: 1, failed: 100, slow: 0 });
        });
    }
}

/// The epoch that begins here takes over all places, while somebody still brings what is of the one before.
#[test]
fn a_ring_that_is_cleared_keeps_what_is_new() {
    loom::model(|| {
        let window = Arc::new(Window::new(&BreakerPolicy::new().of_last(2), 1));
        window.add(0x3fff, 0, FAILURE, || 0);
        let [one, other] = [Arc::clone(&window), Arc::clone(&window)];
        let clears = move || {
            other.begin(0x4000);
            other.add(0x4000, 0, FAILURE, || 0);
        };
        both(move || one.add(0x3fff, 0, FAILURE, || 0), clears);
        assert_eq!(window.tally(0x4000, 0), Tally { calls: 1, failed: 100, slow: 0 });
        window.add(0x4000, 0, SUCCESS, || 0);
        window.add(0x4000, 0, SUCCESS, || 0);
        assert_eq!(window.tally(0x4000, 0), Tally { calls: 2, failed: 0, slow: 0 });
    });
}

/// A thread that was late meets a slice that has come round.
#[test]
fn a_slice_that_comes_round_keeps_what_is_new() {
    loom::model(|| {
        let window = Arc::new(Window::new(&BreakerPolicy::new().within(Duration::from_secs(10)), 1));
        let [one, other] = [Arc::clone(&window), Arc::clone(&window)];
        let later = 10_000_000_000;
        both(move || one.add(1, 0, FAILURE, || 0), move || other.add(1, 0, FAILURE, move || later));
        assert_eq!(window.tally(1, later), Tally { calls: 1, failed: 100, slow: 0 });
    });
}
