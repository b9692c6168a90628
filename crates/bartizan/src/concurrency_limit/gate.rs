//! Permits, and the queue of those who wait for one.

use super::word::Word;
use crate::shared::{
    End, Watch,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// What lets so many in at once.
///
/// While the word says that somebody waits, it changes under the lock alone; it says so if and only if the queue is not
/// empty.
#[derive(Debug)]
pub(super) struct Gate {
    word: AtomicU64,
    queue: Mutex<Queue>,
}

/// Those who wait, in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, oneshot::Sender<Permit>>,
    next: u64,
}

/// The right to be in flight. It is given back when it is dropped.
pub struct Permit {
    gate: Arc<Gate>,
}

/// A place in the queue. Whoever drops it leaves the queue, and gives back the permit that was already on its way.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    place: u64,
    permit: oneshot::Receiver<Permit>,
}

/// What somebody gets who would wait.
#[derive(Debug)]
pub(super) enum Joined {
    Entered(Permit),
    Waiting(Ticket),
    /// So many wait already.
    QueueFull,
}

/// To whom a permit goes that is given back while somebody waits.
enum Next {
    Waiting(oneshot::Sender<Permit>),
    /// More were in than may be.
    Nobody,
    /// They have all left meanwhile.
    NoneWaits,
}

// ===== impl Gate =====

impl Gate {
    pub(super) fn new(limit: u32) -> Self {
        Self { word: AtomicU64::new(Word::new(limit).bits()), queue: Mutex::new(Queue::default()) }
    }

    /// A permit, if there is one.
    #[inline]
    pub(super) fn enter(gate: &Arc<Self>) -> Option<Permit> {
        gate.change(Word::enter).then(|| Permit { gate: Arc::clone(gate) })
    }

    /// A permit, or a place in the queue unless `longest` wait there.
    pub(super) fn enter_or_join(gate: &Arc<Self>, longest: usize) -> Joined {
        let mut queue = gate.lock();
        // Who leaves before we say that we wait must be seen; who leaves after it comes to the queue.
        while !gate.word().has_waiting() {
            if let Some(permit) = Self::enter(gate) {
                return Joined::Entered(permit);
            }
            if longest == 0 {
                return Joined::QueueFull;
            }
            if gate.change(|word| word.enter().is_none().then(|| word.waiting(true))) {
                break;
            }
        }
        if queue.waiting.len() >= longest {
            return Joined::QueueFull;
        }
        let (give, permit) = oneshot::channel();
        let place = queue.next;
        queue.next += 1;
        queue.waiting.insert(place, give);
        Joined::Waiting(Ticket { gate: Arc::clone(gate), place, permit })
    }

    /// Sets another limit. Those who wait enter if there is room now; those who are in stay, also above it.
    pub(super) fn resize(gate: &Arc<Self>, limit: u32) {
        let entering: Vec<_> = {
            let mut queue = gate.lock();
            let mut entering = 0;
            gate.change(|word| {
                let (word, so_many) = word.resize(limit, queue.waiting.len());
                entering = so_many;
                Some(word)
            });
            (0..entering).filter_map(|_| queue.waiting.pop_first()).map(|(_, give)| give).collect()
        };
        for give in entering {
            // Who has gone leaves the permit to us, and we drop it.
            let _ = give.send(Permit { gate: Arc::clone(gate) });
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.word().in_flight()
    }

    pub(super) fn limit(&self) -> u32 {
        self.word().limit()
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Gives a permit back.
    #[inline]
    fn leave(gate: &Arc<Self>) {
        if !gate.change(Word::leave) {
            Self::leave_to_next(gate);
        }
    }

    /// Gives a permit to the first who waits, or back if nobody does any more.
    #[cold]
    fn leave_to_next(gate: &Arc<Self>) {
        match gate.next() {
            Next::Nobody => {}
            Next::NoneWaits => Self::leave(gate),
            // Who has gone leaves the permit to us, and when we drop it, it comes here again.
            Next::Waiting(give) => drop(give.send(Permit { gate: Arc::clone(gate) })),
        }
    }

    #[cold]
    fn next(&self) -> Next {
        let mut queue = self.lock();
        let word = self.word();
        if !word.has_waiting() {
            return Next::NoneWaits;
        }
        if let Some(word) = word.leave_to_waiting() {
            self.word.store(word.bits(), Ordering::Release);
            return Next::Nobody;
        }
        let first = queue.waiting.pop_first();
        self.word.store(word.waiting(!queue.waiting.is_empty()).bits(), Ordering::Release);
        first.map_or(Next::NoneWaits, |(_, give)| Next::Waiting(give))
    }

    fn forget(&self, place: u64) {
        let mut queue = self.lock();
        let left = queue.waiting.remove(&place);
        if left.is_some() && queue.waiting.is_empty() {
            self.word.store(self.word().waiting(false).bits(), Ordering::Release);
        }
        drop(queue);
    }

    #[inline]
    fn change(&self, mut change: impl FnMut(Word) -> Option<Word>) -> bool {
        let change = |bits| change(Word::from_bits(bits)).map(Word::bits);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// Held for a few lines. No permit is dropped in them, as that may come here again.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Permit =====

impl Watch for Permit {
    fn end(self, _: End) {
        drop(self);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        Gate::leave(&self.gate);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

// ===== impl Ticket =====

impl Ticket {
    /// The permit, when it is this one's turn.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Permit> {
        let permit = Pin::new(&mut self.permit);
        permit.poll(cx).map(|permit| permit.expect("who is taken off the queue is sent a permit"))
    }

    /// The permit, if it has come already.
    #[cfg(test)]
    pub(super) fn turn(&mut self) -> Option<Permit> {
        self.permit.try_recv().ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.forget(self.place);
    }
}
