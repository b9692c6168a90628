//! All flights of a cache.

use super::course::{Came, Course, Gone, Landing, Told};
use crate::shared::sync::{Mutex, MutexGuard};
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::BuildHasher,
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
};

/// So many wait for one flight. Who comes then goes alone.
const FOLLOWERS: usize = 1024;
const SHARDS: usize = if cfg!(bartizan_loom) { 1 } else { 16 };

/// What is on its way, by key. Clones share it, and it holds nothing but what is in flight.
pub(in crate::cache) struct Flights<T>(Arc<Shards<T>>);

struct Shards<T> {
    hasher: foldhash::quality::RandomState,
    shards: Box<[Mutex<Map<T>>]>,
}

type Map<T> = HashMap<Arc<[u8]>, Arc<Mutex<Course<T>>>, foldhash::quality::RandomState>;

/// What one finds who asks for a key.
#[derive(Debug)]
pub(in crate::cache) enum Joined<T: Clone> {
    /// Nobody is on the way. What landed a moment ago may be in the memory by now: the leader looks once more.
    Leader(Flight<T>),
    Follower(Waiter<T>),
    /// So many wait already that this one goes alone, and says nothing to anybody.
    Alone,
}

/// What one is told who has waited.
#[derive(Debug)]
pub(in crate::cache) enum Waited<T: Clone> {
    Landed(Landing<T>),
    /// The leader has gone without a word, and this one leads.
    Leads(Flight<T>),
}

/// The leader's part. Dropped before it landed, another takes over.
pub(in crate::cache) struct Flight<T: Clone> {
    way: Way<T>,
    led: u64,
    has_landed: bool,
}

/// One who waits for a flight: a future that can be dropped at any time.
pub(in crate::cache) struct Waiter<T: Clone> {
    way: Way<T>,
    ticket: u64,
    is_told: bool,
}

/// Ends what a flight has landed with: who comes later finds it in the memory, or leads. Dropped, it does the same.
pub(in crate::cache) struct Closer<T: Clone> {
    way: Way<T>,
    led: u64,
}

/// One flight, and where it is kept.
struct Way<T> {
    flights: Flights<T>,
    key: Arc<[u8]>,
    course: Arc<Mutex<Course<T>>>,
}

// ===== impl Flights =====

impl<T: Clone> Flights<T> {
    pub(in crate::cache) fn new() -> Self {
        let hasher = foldhash::quality::RandomState::default();
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self(Arc::new(Shards { hasher, shards }))
    }

    /// Leads, if nobody does.
    pub(in crate::cache) fn join(&self, key: &[u8]) -> Joined<T> {
        let mut shard = self.shard(key);
        if let Some((key, course)) = shard.get_key_value(key) {
            let came = lock(course).come(FOLLOWERS);
            let way = || Way { flights: self.clone(), key: Arc::clone(key), course: Arc::clone(course) };
            match came {
                Came::Leads(led) => return Joined::Leader(Flight { way: way(), led, has_landed: false }),
                Came::Waits(ticket) => return Joined::Follower(Waiter { way: way(), ticket, is_told: false }),
                Came::Crowded => return Joined::Alone,
                Came::Late => {}
            }
        }
        let (key, course) = (Arc::from(key), Arc::new(Mutex::new(Course::new())));
        shard.insert(Arc::clone(&key), Arc::clone(&course));
        drop(shard);
        Joined::Leader(Flight { way: Way { flights: self.clone(), key, course }, led: 1, has_landed: false })
    }

    /// Follows what can be read along already, and leads nothing.
    pub(in crate::cache) fn read_along(&self, key: &[u8]) -> Option<Waiter<T>> {
        let shard = self.shard(key);
        let (key, course) = shard.get_key_value(key)?;
        let ticket = lock(course).read_along()?;
        let way = Way { flights: self.clone(), key: Arc::clone(key), course: Arc::clone(course) };
        Some(Waiter { way, ticket, is_told: false })
    }

    #[cfg(test)]
    /// How many keys are on their way.
    pub(in crate::cache) fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Map<T>> {
        // The map takes the low bits, and its tags the highest.
        let shard = usize::from(self.0.hasher.hash_one(key).to_be_bytes()[3]) % SHARDS;
        lock(&self.0.shards[shard])
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

/// Of the two locks, the shard's is taken first. Nothing is left half done under either.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ===== impl Way =====

impl<T> Clone for Way<T> {
    fn clone(&self) -> Self {
        Self { flights: self.flights.clone(), key: Arc::clone(&self.key), course: Arc::clone(&self.course) }
    }
}

impl<T: Clone> Way<T> {
    /// Changes the flight, and forgets it if `change` says so, in one step for those who come.
    fn change<R>(&self, change: impl FnOnce(&mut Course<T>) -> (bool, R)) -> R {
        let mut shard = self.flights.shard(&self.key);
        let (is_over, out) = change(&mut lock(&self.course));
        let is_ours = || shard.get(&*self.key).is_some_and(|course| Arc::ptr_eq(course, &self.course));
        // What is forgotten may hold a body, which is not to be dropped under a lock.
        let forgotten = if is_over && is_ours() { shard.remove(&*self.key) } else { None };
        drop(shard);
        drop(forgotten);
        out
    }

    /// Wakes whom it has to.
    fn gone(&self, change: impl FnOnce(&mut Course<T>) -> Gone) {
        let gone = self.change(|course| {
            let gone = change(course);
            (matches!(gone, Gone::Forget), gone)
        });
        if let Gone::Wake(Some(waker)) = gone {
            waker.wake();
        }
    }
}

// ===== impl Flight =====

impl<T: Clone> Flight<T> {
    /// Says to all who wait what came of it. [`Landing::Filling`] is said to those who come later too, until the
    /// [`Closer`] is dropped.
    pub(in crate::cache) fn land(mut self, landing: Landing<T>) {
        self.has_landed = true;
        let waiting = self.way.change(|course| {
            let (stays, waiting) = course.land(landing);
            (!stays, waiting)
        });
        for waker in waiting.into_iter().filter_map(|(_, waker)| waker) {
            waker.wake();
        }
    }

    /// What ends the landing: made before it, as it goes to where the end is seen.
    pub(in crate::cache) fn closer(&self) -> Closer<T> {
        Closer { way: self.way.clone(), led: self.led }
    }
}

impl<T: Clone> Drop for Flight<T> {
    fn drop(&mut self) {
        if !self.has_landed {
            self.way.gone(Course::vacate);
        }
    }
}

impl<T: Clone> Drop for Closer<T> {
    fn drop(&mut self) {
        self.way.change(|course| (course.close(self.led), ()));
    }
}

impl<T: Clone> fmt::Debug for Flight<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flight")
    }
}

impl<T: Clone> fmt::Debug for Closer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closer")
    }
}

// ===== impl Waiter =====

impl<T: Clone> Future for Waiter<T> {
    type Output = Waited<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Waited<T>> {
        debug_assert!(!self.is_told, "it is polled after it was told");
        let told = lock(&self.way.course).ask(self.ticket, cx.waker());
        let waited = match told {
            Told::Wait(_) => return Poll::Pending,
            Told::Landed(landing) => Waited::Landed(landing),
            Told::Leads(led) => Waited::Leads(Flight { way: self.way.clone(), led, has_landed: false }),
        };
        self.is_told = true;
        Poll::Ready(waited)
    }
}

impl<T: Clone> Drop for Waiter<T> {
    fn drop(&mut self) {
        if mem::replace(&mut self.is_told, true) {
            return;
        }
        let mut said = None;
        self.way.gone(|course| {
            let (gone, waker) = course.part(self.ticket);
            said = waker;
            gone
        });
    }
}

impl<T: Clone> fmt::Debug for Waiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}
