//! Waiting for one's turn: a line for each bucket, in the order of arrival.

use bartizan_store::Key;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The lines of a limiter. A line is there as long as somebody stands in it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<Bucket, Line>>,
    /// How many stand in all of them. Read without the lock by those who find nobody waiting.
    waiting: AtomicUsize,
}

/// A bucket that somebody waits for: the number of its policy, and its key.
pub(super) type Bucket = (usize, Key);

#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    length: usize,
}

/// A place in a line; leaving it, also by being dropped, lets those behind move up.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    lines: &'a Lines,
    bucket: Bucket,
    turn: Arc<Semaphore>,
}

impl Lines {
    /// The first of these buckets for which somebody waits already.
    pub(super) fn occupied(&self, mut buckets: impl Iterator<Item = Bucket>) -> Option<Bucket> {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        let lines = self.lock();
        buckets.find(|bucket| lines.contains_key(bucket))
    }

    /// Joins the line for a bucket, unless `longest` stand there.
    pub(super) fn join(&self, bucket: Bucket, longest: usize) -> Option<Ticket<'_>> {
        if longest == 0 {
            return None;
        }
        let mut lines = self.lock();
        let line = lines.entry(bucket).or_insert_with(|| Line { turn: Arc::new(Semaphore::new(1)), length: 0 });
        if line.length >= longest {
            return None;
        }
        line.length += 1;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Some(Ticket { lines: self, bucket, turn: Arc::clone(&line.turn) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bucket, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Waits until nobody stands in front. tokio's semaphore is fair, and forgets who stops waiting.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turn.acquire().await.expect("a line is never closed")
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        self.lines.waiting.fetch_sub(1, Ordering::AcqRel);
        if let Some(line) = lines.get_mut(&self.bucket) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(&self.bucket);
            }
        }
    }
}
