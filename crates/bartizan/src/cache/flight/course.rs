//! One flight: who waits for it, and what came of it.

use crate::cache::policy::Failure;
use std::task::Waker;

/// What a leader says to all who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Landing<T> {
    /// The response is being stored, and can be read along.
    Filling(T),
    /// It is stored: the memory has it.
    Stored,
    /// It is for the one who asked. Everybody goes at once, and alone.
    Unstorable,
    /// There was none, for this reason.
    Failed(Failure),
}

/// A flight, as it is kept under a lock.
pub(super) struct Course<T> {
    stage: Stage<T>,
    waiting: Vec<(u64, Option<Waker>)>,
    tickets: u64,
    /// How many have led it: what one before has left behind is not for this one.
    led: u64,
    /// What it would land with is over already.
    is_closed: bool,
}

enum Stage<T> {
    Led,
    /// The leader has gone, and one of those who wait was woken to take over.
    Vacant,
    Landed(Landing<T>),
}

/// What one who came finds.
pub(super) enum Came {
    Leads(u64),
    Waits(u64),
    /// So many wait that this one does better alone.
    Crowded,
    /// It has landed, and was about to be forgotten.
    Late,
}

/// What one who waits is told.
pub(super) enum Told<T> {
    Landed(Landing<T>),
    Leads(u64),
    /// Nothing yet. What it said before is to be dropped when no lock is held.
    Wait(#[allow(dead_code, reason = "held, to be dropped later")] Option<Waker>),
}

/// What is to be done when one has gone.
pub(super) enum Gone {
    Nothing,
    Wake(Option<Waker>),
    /// Nobody is left.
    Forget,
}

// ===== impl Course =====

impl<T: Clone> Course<T> {
    /// A flight that has its leader.
    pub(super) fn new() -> Self {
        Self { stage: Stage::Led, waiting: Vec::new(), tickets: 0, led: 1, is_closed: false }
    }

    /// One more comes.
    pub(super) fn come(&mut self, most: usize) -> Came {
        match &self.stage {
            Stage::Vacant => Came::Leads(self.lead()),
            Stage::Landed(Landing::Filling(_)) => Came::Waits(self.seat()),
            Stage::Landed(_) => Came::Late,
            Stage::Led if self.waiting.len() >= most => Came::Crowded,
            Stage::Led => Came::Waits(self.seat()),
        }
    }

    /// One comes who does not lead.
    pub(super) fn read_along(&mut self) -> Option<u64> {
        matches!(self.stage, Stage::Landed(Landing::Filling(_))).then(|| self.seat())
    }

    fn seat(&mut self) -> u64 {
        self.tickets += 1;
        if matches!(self.stage, Stage::Led) {
            self.waiting.push((self.tickets, None));
        }
        self.tickets
    }

    fn lead(&mut self) -> u64 {
        self.stage = Stage::Led;
        self.is_closed = false;
        self.led += 1;
        self.led
    }

    /// One who waits asks.
    pub(super) fn ask(&mut self, ticket: u64, waker: &Waker) -> Told<T> {
        match &self.stage {
            Stage::Landed(landing) => Told::Landed(landing.clone()),
            Stage::Vacant => {
                self.waiting.retain(|(waits, _)| *waits != ticket);
                Told::Leads(self.lead())
            }
            Stage::Led => {
                let Some((_, said)) = self.place(ticket) else { return Told::Wait(None) };
                match said {
                    Some(said) if said.will_wake(waker) => Told::Wait(None),
                    said => Told::Wait(said.replace(waker.clone())),
                }
            }
        }
    }

    /// The tickets are in order.
    fn place(&mut self, ticket: u64) -> Option<&mut (u64, Option<Waker>)> {
        let at = self.waiting.binary_search_by_key(&ticket, |(waits, _)| *waits).ok()?;
        self.waiting.get_mut(at)
    }

    /// One who waits goes. If it was woken to take over, another is.
    pub(super) fn part(&mut self, ticket: u64) -> (Gone, Option<Waker>) {
        let at = self.waiting.binary_search_by_key(&ticket, |(waits, _)| *waits);
        let said = at.ok().and_then(|at| self.waiting.remove(at).1);
        (if matches!(self.stage, Stage::Vacant) { self.vacate() } else { Gone::Nothing }, said)
    }

    /// The leader goes without a word.
    pub(super) fn vacate(&mut self) -> Gone {
        self.stage = Stage::Vacant;
        match self.waiting.iter_mut().find_map(|(_, waker)| waker.take()) {
            Some(waker) => Gone::Wake(Some(waker)),
            // Those who have not asked yet will find it.
            None if !self.waiting.is_empty() => Gone::Wake(None),
            None => Gone::Forget,
        }
    }

    /// The leader lands: whether the flight stays for those who come later, and those who are to be woken.
    pub(super) fn land(&mut self, landing: Landing<T>) -> (bool, Vec<(u64, Option<Waker>)>) {
        let stays = matches!(landing, Landing::Filling(_)) && !self.is_closed;
        self.stage = Stage::Landed(landing);
        (stays, std::mem::take(&mut self.waiting))
    }

    /// What this leader lands with, or has landed with, is over. Whether the flight is to be forgotten.
    pub(super) fn close(&mut self, led: u64) -> bool {
        if self.led != led {
            return false;
        }
        self.is_closed = true;
        matches!(self.stage, Stage::Landed(_))
    }
}
