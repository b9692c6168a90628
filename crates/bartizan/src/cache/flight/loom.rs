//! Every interleaving of a leader that goes and of those who wait: one leads, and nobody waits in vain.

use super::{Flight, Flights, Joined, Landing, Waited, flights::Waiter};
use loom::{
    model::Builder,
    sync::{Condvar, Mutex},
    thread,
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

/// Three threads have more interleavings than can be tried: those in which a thread is interrupted three times at most.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// What a thread sleeps on. If it is never woken, the model says so.
struct Sleeper(Mutex<bool>, Condvar);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn wait(mut waiter: Waiter<()>) -> Waited<()> {
    let sleeper = Arc::new(Sleeper(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(Arc::clone(&sleeper));
    loop {
        if let Poll::Ready(waited) = Pin::new(&mut waiter).poll(&mut Context::from_waker(&waker)) {
            return waited;
        }
        let mut woken = sleeper.0.lock().unwrap();
        while !*woken {
            woken = sleeper.1.wait(woken).unwrap();
        }
        *woken = false;
    }
}

fn leader(flights: &Flights<()>) -> Flight<()> {
    let Joined::Leader(flight) = flights.join(b"a") else { panic!("somebody leads") };
    flight
}

fn follower(flights: &Flights<()>) -> Waiter<()> {
    let Joined::Follower(waiter) = flights.join(b"a") else { panic!("nobody leads") };
    waiter
}

/// Who is to lead does, and lands.
fn through(waited: Waited<()>) -> bool {
    match waited {
        Waited::Leads(flight) => {
            flight.land(Landing::Stored);
            true
        }
        Waited::Landed(landing) => {
            assert_eq!(landing, Landing::Stored);
            false
        }
    }
}

#[test]
fn loom_a_leader_that_goes_is_followed_by_one_of_two() {
    check(|| {
        let flights = Flights::new();
        let flight = leader(&flights);
        let (first, second) = (follower(&flights), follower(&flights));
        let goes = thread::spawn(move || drop(flight));
        let waits = thread::spawn(move || through(wait(second)));
        let here = through(wait(first));
        assert!(here != waits.join().unwrap(), "exactly one has led");
        goes.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn loom_one_that_is_woken_to_lead_and_goes_hands_over() {
    check(|| {
        let flights = Flights::new();
        let flight = leader(&flights);
        let (first, mut second) = (follower(&flights), follower(&flights));
        assert!(Pin::new(&mut second).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let goes = thread::spawn(move || drop(flight));
        let leaves = thread::spawn(move || drop(second));
        assert!(through(wait(first)));
        goes.join().unwrap();
        leaves.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}

#[test]
fn loom_who_comes_while_it_lands_and_ends_is_told_or_leads() {
    check(|| {
        let flights = Flights::new();
        let flight = leader(&flights);
        let closer = flight.closer();
        let lands = thread::spawn(move || flight.land(Landing::Filling(())));
        let ends = thread::spawn(move || drop(closer));
        match flights.join(b"a") {
            Joined::Leader(flight) => drop(flight),
            Joined::Follower(waiter) => assert!(matches!(wait(waiter), Waited::Landed(Landing::Filling(())))),
            Joined::Alone => panic!("few wait"),
        }
        lands.join().unwrap();
        ends.join().unwrap();
        assert_eq!(flights.len(), 0);
    });
}
