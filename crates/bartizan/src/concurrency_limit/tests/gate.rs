//! The gate against a model that keeps lists.

use crate::concurrency_limit::gate::{Gate, Joined, Permit, Ticket};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Join(usize),
    /// One of those who are in leaves.
    Leave(prop::sample::Index),
    /// One of those who wait, or have a permit underway, goes.
    GiveUp(prop::sample::Index),
    Resize(u32),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enter),
        3 => (0usize..4).prop_map(Step::Join),
        4 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        1 => (0u32..5).prop_map(Step::Resize),
    ]
}

/// What the gate should do, told in lists: those who wait by their names.
#[derive(Debug, Default)]
struct Model {
    limit: usize,
    in_flight: usize,
    queue: VecDeque<usize>,
    let_in: Vec<usize>,
}

impl Model {
    fn has_room(&self) -> bool {
        self.queue.is_empty() && self.in_flight < self.limit
    }

    fn fill(&mut self) {
        while self.in_flight < self.limit
            && let Some(first) = self.queue.pop_front()
        {
            self.let_in.push(first);
            self.in_flight += 1;
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(limit in 1u32..4, steps in prop::collection::vec(a_step(), 0..60)) {
        let gate = Arc::new(Gate::new(limit));
        let mut model = Model { limit: limit as usize, ..Model::default() };
        let mut permits: Vec<Permit> = Vec::new();
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        for (name, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter => {
                    let permit = Gate::enter(&gate);
                    prop_assert_eq!(permit.is_some(), model.has_room());
                    model.in_flight += usize::from(permit.is_some());
                    permits.extend(permit);
                }
                Step::Join(longest) => match Gate::enter_or_join(&gate, longest) {
                    Joined::Entered(permit) => {
                        prop_assert!(model.has_room());
                        model.in_flight += 1;
                        permits.push(permit);
                    }
                    Joined::Waiting(ticket) => {
                        prop_assert!(!model.has_room() && model.queue.len() < longest);
                        model.queue.push_back(name);
                        tickets.push((name, ticket));
                    }
                    Joined::QueueFull => prop_assert!(!model.has_room() && model.queue.len() >= longest),
                },
                Step::Leave(index) if !permits.is_empty() => {
                    drop(permits.swap_remove(index.index(permits.len())));
                    model.in_flight -= 1;
                    model.fill();
                }
                Step::GiveUp(index) if !tickets.is_empty() => {
                    let (name, ticket) = tickets.swap_remove(index.index(tickets.len()));
                    drop(ticket);
                    if model.queue.contains(&name) {
                        model.queue.retain(|other| *other != name);
                    } else {
                        model.in_flight -= 1;
                        model.fill();
                    }
                    model.let_in.retain(|other| *other != name);
                }
                Step::Resize(limit) => {
                    Gate::resize(&gate, limit);
                    model.limit = limit as usize;
                    model.fill();
                }
                Step::Leave(_) | Step::GiveUp(_) => {}
            }
            prop_assert_eq!(gate.in_flight() as usize, model.in_flight);
            prop_assert_eq!(gate.waiting(), model.queue.len());
            prop_assert_eq!(gate.limit() as usize, model.limit);
            // Some of those who were let in fetch their permit, and the others keep us waiting.
            if name % 2 == 0 {
                for (_, mut ticket) in tickets.extract_if(.., |(name, _)| model.let_in.contains(name)) {
                    permits.push(ticket.turn().expect("the model says that it has one"));
                }
                model.let_in.clear();
            }
            prop_assert!(tickets.iter_mut().all(|(name, ticket)| model.let_in.contains(name) || ticket.turn().is_none()));
        }
        drop((permits, tickets));
        prop_assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
    }
}

#[test]
fn threads_that_come_and_go_and_give_up_never_exceed_the_limit_and_lose_no_permit() {
    const LIMIT: u32 = 2;
    let gate = Arc::new(Gate::new(LIMIT));
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (gate, inside) = (&gate, &inside);
            scope.spawn(move || {
                for turn in 0..20_000u32 {
                    let permit = match (turn + thread) % 3 {
                        0 => Gate::enter(gate),
                        _ => match Gate::enter_or_join(gate, 2) {
                            Joined::Entered(permit) => Some(permit),
                            Joined::Waiting(mut ticket) => ticket.turn(), // most often it gives up
                            Joined::QueueFull => None,
                        },
                    };
                    if permit.is_some() {
                        assert!(inside.fetch_add(1, Relaxed) < LIMIT);
                        inside.fetch_sub(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
    assert!(Gate::enter(&gate).is_some());
}

#[test]
fn a_long_queue_of_those_who_have_gone_is_no_deep_stack() {
    let gate = Arc::new(Gate::new(1));
    let held = Gate::enter(&gate);
    let queue: Vec<_> = (0..100_000)
        .map(|_| match Gate::enter_or_join(&gate, usize::MAX) {
            Joined::Waiting(ticket) => ticket,
            joined => panic!("{joined:?}"),
        })
        .collect();
    drop(held);
    drop(queue); // from the first on: each one passes its permit to the next
    assert_eq!((gate.in_flight(), gate.waiting()), (0, 0));
}
