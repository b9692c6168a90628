//! URLs whose responses are not worth waiting for.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// Remembers for a while under which keys nothing could be stored, so that requests for them do not wait for each other.
///
/// Of a fixed size: a key may take the place of another, which then waits once more. Each place holds half of a hash, and
/// the second until which the mark holds.
#[derive(Debug)]
pub(super) struct Marks {
    began: Instant,
    random: foldhash::quality::RandomState,
    places: Box<[AtomicU64]>,
}

const PLACES: usize = 8192;

/// As long as Varnish remembers a hit-for-miss: a response may become one that can be stored at any time.
const HOLDS: Duration = Duration::from_secs(120);

impl Marks {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { began: Instant::now(), random: foldhash::quality::RandomState::default(), places }
    }

    pub(super) fn set(&self, key: &[u8], now: Instant) {
        let (place, tag) = self.place(key);
        place.store(tag | u64::from(self.second(now + HOLDS)), Ordering::Relaxed);
    }

    /// Only for who asks with a `Cookie`: the reason is there, and others may well share an answer.
    pub(super) fn set_for_cookies(&self, key: &[u8], now: Instant) {
        self.set(&with_cookie(key), now);
    }

    pub(super) fn has_for_cookies(&self, key: &[u8], now: Instant) -> bool {
        self.has(&with_cookie(key), now)
    }

    pub(super) fn clear(&self, key: &[u8]) {
        let (place, tag) = self.place(key);
        let mark = place.load(Ordering::Relaxed);
        if mark & !u64::from(u32::MAX) == tag {
            // Whoever has set it anew in between loses a mark, and somebody waits once more.
            place.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn has(&self, key: &[u8], now: Instant) -> bool {
        let (place, tag) = self.place(key);
        let mark = place.load(Ordering::Relaxed);
        mark & !u64::from(u32::MAX) == tag && mark & u64::from(u32::MAX) > u64::from(self.second(now))
    }

    fn place(&self, key: &[u8]) -> (&AtomicU64, u64) {
        let hash = self.random.hash_one(key);
        let index = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        (&self.places[index], hash & !u64::from(u32::MAX))
    }

    fn second(&self, instant: Instant) -> u32 {
        u32::try_from(instant.saturating_duration_since(self.began).as_secs()).unwrap_or(u32::MAX)
    }
}

/// No key ends like this.
fn with_cookie(key: &[u8]) -> Vec<u8> {
    [key, b"\0cookie\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mark_holds_for_two_minutes_or_until_it_is_cleared() {
        let marks = Marks::new();
        marks.set(b"/a", Instant::now());
        assert!(marks.has(b"/a", Instant::now()) && !marks.has(b"/b", Instant::now()));
        tokio::time::advance(Duration::from_secs(119)).await;
        assert!(marks.has(b"/a", Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!marks.has(b"/a", Instant::now()));
        marks.set(b"/a", Instant::now());
        marks.clear(b"/a");
        assert!(!marks.has(b"/a", Instant::now()));
    }
}
