//! Flights: one leads, nobody waits in vain.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use super::{flights::Waiter, *};
use crate::cache::{
    fill::{Abandoned, Fill, Plan, on_current_runtime},
    policy::Failure,
};
use bytes::Bytes;
use http_body::Body;
use proptest::prelude::*;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

type Of = Flights<&'static str>;

fn leader(flights: &Of, key: &[u8]) -> Flight<&'static str> {
    let Joined::Leader(flight) = flights.join(key) else { panic!("somebody leads") };
    flight
}

fn follower(flights: &Of, key: &[u8]) -> Following {
    let Joined::Follower(waiter) = flights.join(key) else { panic!("nobody leads, or too many wait") };
    Following { waiter, flag: Arc::new(Flag(AtomicBool::new(true))) }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// One who waits, and is polled when it was woken.
struct Following {
    waiter: Waiter<&'static str>,
    flag: Arc<Flag>,
}

impl Following {
    fn is_woken(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }

    fn poll(&mut self) -> Option<Waited<&'static str>> {
        self.flag.0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.flag));
        match Pin::new(&mut self.waiter).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(waited) => Some(waited),
            Poll::Pending => None,
        }
    }

    fn landing(mut self) -> Landing<&'static str> {
        assert!(self.is_woken(), "it is not polled before it is woken");
        let Some(Waited::Landed(landing)) = self.poll() else { panic!("it has not landed") };
        landing
    }
}

#[test]
fn the_first_leads_and_all_others_are_told_what_it_lands_with() {
    for landing in [Landing::Stored, Landing::Unstorable, Landing::Failed(Failure::Unreachable)] {
        let flights = Of::new();
        let flight = leader(&flights, b"a");
        let other = leader(&flights, b"b");
        let mut followers: Vec<_> = (0..3).map(|_| follower(&flights.clone(), b"a")).collect();
        assert!(followers[0].poll().is_none());
        flight.land(landing.clone());
        for follower in followers {
            assert_eq!(follower.landing(), landing);
        }
        assert_eq!(flights.len(), 1);
        drop(leader(&flights, b"a"));
        drop(other);
        assert_eq!(flights.len(), 0);
    }
}

/// They go in parallel, and do not queue behind the next who leads.
#[test]
fn behind_what_is_unstorable_nobody_queues_again() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut followers: Vec<_> = (0..50).map(|_| follower(&flights, b"a")).collect();
    assert!(followers.iter_mut().all(|follower| follower.poll().is_none()));
    flight.land(Landing::Unstorable);
    let next = leader(&flights, b"a");
    for follower in followers {
        assert_eq!(follower.landing(), Landing::Unstorable);
    }
    drop(next);
}

#[test]
fn what_is_being_stored_is_joined_until_it_is_over() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let closer = flight.closer();
    let (early, mut gone) = (follower(&flights, b"a"), follower(&flights, b"a"));
    assert!(gone.poll().is_none());
    flight.land(Landing::Filling("head and fill"));
    let late = follower(&flights, b"a");
    assert_eq!(late.landing(), Landing::Filling("head and fill"));
    drop(closer);
    assert_eq!(flights.len(), 0);
    assert_eq!(early.landing(), Landing::Filling("head and fill"), "who waited is told all the same");
    drop(gone);
    drop(leader(&flights, b"a"));
}

#[test]
fn what_is_over_before_it_landed_is_not_joined_later() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    drop(flight.closer());
    let early = follower(&flights, b"a");
    flight.land(Landing::Filling("an empty one"));
    assert_eq!(early.landing(), Landing::Filling("an empty one"));
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_leader_that_goes_is_followed_by_exactly_one() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut followers: Vec<_> = (0..3).map(|_| follower(&flights, b"a")).collect();
    assert!(followers.iter_mut().all(|follower| follower.poll().is_none()));
    drop(flight);
    assert_eq!(followers.iter().filter(|follower| follower.is_woken()).count(), 1);
    let at = followers.iter().position(Following::is_woken).unwrap();
    let Some(Waited::Leads(flight)) = followers[at].poll() else { panic!("it leads") };
    drop(followers.remove(at));
    assert!(followers.iter_mut().all(|follower| follower.poll().is_none()));
    flight.land(Landing::Stored);
    assert!(followers.into_iter().all(|follower| follower.landing() == Landing::Stored));
}

#[test]
fn one_that_was_to_lead_and_goes_hands_over_in_turn() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut followers: Vec<_> = (0..20).map(|_| follower(&flights, b"a")).collect();
    assert!(followers.iter_mut().all(|follower| follower.poll().is_none()));
    drop(flight);
    while followers.len() > 1 {
        let at = followers.iter().position(Following::is_woken).expect("somebody was woken");
        drop(followers.remove(at));
    }
    assert!(followers[0].is_woken());
    assert!(matches!(followers[0].poll(), Some(Waited::Leads(_))), "and the flight is dropped");
    assert_eq!(flights.len(), 0);
}

#[test]
fn one_that_has_not_asked_yet_leads_when_it_does() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut first = follower(&flights, b"a");
    drop(flight);
    assert!(matches!(first.poll(), Some(Waited::Leads(_))));
    assert_eq!(flights.len(), 0);
}

#[test]
fn one_that_comes_while_nobody_leads_does() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut waits = follower(&flights, b"a");
    assert!(waits.poll().is_none());
    drop(flight);
    let flight = leader(&flights, b"a");
    assert!(waits.is_woken() && waits.poll().is_none(), "it was too late, and waits on");
    flight.land(Landing::Stored);
    assert_eq!(waits.landing(), Landing::Stored);
}

/// The first leader had made a fill, and went before it said so.
#[test]
fn what_an_earlier_leader_left_behind_ends_nothing_of_the_next() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let old = flight.closer();
    let mut waits = follower(&flights, b"a");
    drop(flight);
    let Some(Waited::Leads(flight)) = waits.poll() else { panic!("it leads") };
    let closer = flight.closer();
    flight.land(Landing::Filling("of the second"));
    drop(old);
    assert_eq!(follower(&flights, b"a").landing(), Landing::Filling("of the second"));
    drop(closer);
    assert_eq!(flights.len(), 0);
}

#[test]
fn when_many_wait_one_more_goes_alone() {
    let flights = Of::new();
    let flight = leader(&flights, b"a");
    let mut followers: Vec<_> = (0..1024).map(|_| follower(&flights, b"a")).collect();
    assert!(matches!(flights.join(b"a"), Joined::Alone));
    followers.pop();
    followers.push(follower(&flights, b"a"));
    flight.land(Landing::Filling("joined by any number"));
    drop(follower(&flights, b"a"));
}

#[derive(Clone, Debug)]
enum Move {
    Join(u8),
    Poll(usize),
    Leave(usize),
    Go(usize),
    Land(usize, u8),
    Close(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let a_move = prop_oneof![
        6 => (0..2_u8).prop_map(Move::Join),
        3 => (0..8_usize).prop_map(Move::Poll),
        3 => (0..8_usize).prop_map(Move::Leave),
        2 => (0..8_usize).prop_map(Move::Go),
        2 => (0..8_usize, 0..4_u8).prop_map(|(at, landing)| Move::Land(at, landing)),
        1 => (0..8_usize).prop_map(Move::Close),
    ];
    prop::collection::vec(a_move, 0..60)
}

proptest! {
    /// In any order of coming, going, and landing: at most one leads a key, who waits is told, and nothing is left over.
    #[test]
    fn nobody_waits_in_vain(moves in moves()) {
        let flights = Of::new();
        let (mut leaders, mut followers, mut closers) = (Vec::new(), Vec::new(), Vec::new());
        for step in moves {
            match step {
                Move::Join(key) => match flights.join(&[key]) {
                    Joined::Leader(flight) => leaders.push((key, flight)),
                    Joined::Follower(waiter) => {
                        followers.push((key, Following { waiter, flag: Arc::new(Flag(AtomicBool::new(true))) }));
                    }
                    Joined::Alone => prop_assert!(false, "few wait"),
                },
                Move::Poll(at) if !followers.is_empty() => {
                    let at = at % followers.len();
                    let key = followers[at].0;
                    if let Some(waited) = followers[at].1.poll() {
                        followers.remove(at);
                        if let Waited::Leads(flight) = waited {
                            leaders.push((key, flight));
                        }
                    }
                }
                Move::Leave(at) if !followers.is_empty() => drop(followers.remove(at % followers.len())),
                Move::Go(at) if !leaders.is_empty() => drop(leaders.remove(at % leaders.len())),
                Move::Land(at, landing) if !leaders.is_empty() => {
                    let (_, flight) = leaders.remove(at % leaders.len());
                    closers.push(flight.closer());
                    flight.land(match landing {
                        0 => Landing::Filling("it"),
                        1 => Landing::Stored,
                        2 => Landing::Unstorable,
                        _ => Landing::Failed(Failure::Unreachable),
                    });
                }
                Move::Close(at) if !closers.is_empty() => drop(closers.remove(at % closers.len())),
                _ => {}
            }
            for key in 0..2 {
                prop_assert!(leaders.iter().filter(|(led, _)| *led == key).count() < 2, "two lead");
            }
        }
        // From here on only those are polled who were woken, and each who leads lands.
        loop {
            for (_, flight) in leaders.drain(..) {
                flight.land(Landing::Stored);
            }
            let Some(at) = followers.iter().position(|(_, follower)| follower.is_woken()) else { break };
            let key = followers[at].0;
            if let Some(waited) = followers[at].1.poll() {
                followers.remove(at);
                if let Waited::Leads(flight) = waited {
                    leaders.push((key, flight));
                }
            }
        }
        prop_assert!(followers.is_empty(), "{} wait in vain", followers.len());
        drop(closers);
        prop_assert_eq!(flights.len(), 0);
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits, for so many polls at most.
fn wait(waiter: Waiter<&'static str>, most: usize) -> Option<Waited<&'static str>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut waiter = pin!(waiter);
    for _ in 0..most {
        if let Poll::Ready(waited) = waiter.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(waited);
        }
        thread::park();
    }
    None
}

/// A test that stalls is one that has lost a wake-up.
#[test]
fn threads_that_lead_leave_and_land_leave_nobody_waiting() {
    for round in 0..1_000_usize {
        let flights = Of::new();
        let (leading, landed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let lead = |flight: Flight<&'static str>, lands: bool| {
            assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two lead");
            thread::yield_now();
            leading.fetch_sub(1, Ordering::SeqCst);
            if lands {
                landed.fetch_add(1, Ordering::SeqCst);
                flight.land(Landing::Stored);
            }
        };
        thread::scope(|scope| {
            for one in 0..4 {
                let (flights, lead) = (flights.clone(), &lead);
                scope.spawn(move || {
                    let lands = (round + one) % 3 == 0;
                    match flights.join(b"a") {
                        Joined::Leader(flight) => lead(flight, lands),
                        Joined::Follower(waiter) => {
                            // Some give up after their first wake-up, whatever it was.
                            let most = if (round + one).is_multiple_of(2) { 1 } else { usize::MAX };
                            if let Some(Waited::Leads(flight)) = wait(waiter, most) {
                                lead(flight, lands);
                            }
                        }
                        Joined::Alone => unreachable!("few wait"),
                    }
                });
            }
        });
        assert_eq!(flights.len(), 0);
    }
}

/// The flight holds the fill, whose end holds what ends the flight: that circle is open when the body has come to its
/// end, or nobody reads it any more.
#[test]
fn a_flight_and_what_it_is_filled_with_hold_each_other_no_longer_than_that() {
    for reads in [true, false] {
        let flights = Flights::<Arc<Fill>>::new();
        let Joined::Leader(flight) = flights.join(b"a") else { panic!("somebody leads") };
        let closer = flight.closer();
        let plan = Plan { expected: None, limit: 100, abandoned: Abandoned::Drop, spawn: on_current_runtime() };
        let body = http_body_util::Full::new(Bytes::from_static(b"all"));
        let (fill, mut reader) = Fill::start(body, plan, move |_| drop(closer));
        let held = Arc::downgrade(&fill);
        flight.land(Landing::Filling(fill));
        assert!(matches!(flights.join(b"a"), Joined::Follower(_)) && held.upgrade().is_some());
        if reads {
            assert!(Pin::new(&mut reader).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
            assert_eq!(flights.len(), 0);
        }
        drop(reader);
        assert_eq!(flights.len(), 0);
        assert!(held.upgrade().is_none());
    }
}
