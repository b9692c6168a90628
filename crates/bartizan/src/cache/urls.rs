//! Under which URLs nothing was ever stored.

use super::{
    key::{CacheKey, Resource},
    mix::mix,
};
use std::{
    iter,
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
        fence,
    },
};

/// Remembers of each URL that something was stored under it, by one bit that URLs share by their hashes.
///
/// Most of what changes something has a URL of its own, of which nothing is ever stored, and so has much of what is asked for.
/// Who knows that need not look for it, under whatever scheme. No bit is ever taken back: what is remembered wears off as URLs
/// come and go.
pub(super) struct Urls(Box<[AtomicU64]>);

/// How many bits a cache of so many bytes has: more than it can have keys, as a rule.
fn bits(bytes: u64) -> u64 {
    (bytes / 512).clamp(1 << 14, 1 << 22).next_power_of_two()
}

// ===== impl Urls =====

impl Urls {
    pub(super) fn new(bytes: u64) -> Self {
        let words = usize::try_from(bits(bytes) / 64).unwrap_or(1 << 8);
        Self(iter::repeat_with(AtomicU64::default).take(words).collect())
    }

    /// Something is about to be stored. Said before it is asked whether there has been a purge: of the one who stores and
    /// the one who purges at the same time, at least one sees the other.
    ///
    /// Whether it is the first of its URL.
    pub(super) fn add(&self, key: &CacheKey) -> bool {
        let (word, bit) = self.place(key);
        let is_first = word.load(Relaxed) & bit == 0;
        if is_first {
            word.fetch_or(bit, Relaxed);
        }
        fence(SeqCst);
        is_first
    }

    /// Whether something may have been stored. Asked after the purge has been counted.
    pub(super) fn have(&self, key: &CacheKey) -> bool {
        fence(SeqCst);
        self.may_have(key)
    }

    /// The same for who may miss what is being stored right now.
    #[inline]
    pub(super) fn may_have(&self, key: &CacheKey) -> bool {
        let (word, bit) = self.place(key);
        word.load(Relaxed) & bit != 0
    }

    #[allow(clippy::cast_possible_truncation, reason = "its upper bits, more than there are places")]
    fn place(&self, key: &CacheKey) -> (&AtomicU64, u64) {
        let Resource { partition, target } = key.resource();
        let hash = (mix(mix(0, partition), target) >> 32) as usize;
        (&self.0[hash / 64 % self.0.len()], 1 << (hash % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_known_by_whatever_scheme_and_others_are_not() {
        let urls = Urls::new(1 << 20);
        let key = |url: &str| CacheKey::url(url).expect("a URL");
        urls.add(&key("https://shop.example/shoes"));
        assert!(urls.have(&key("https://shop.example/shoes")) && urls.have(&key("http://shop.example/shoes")));
        let others = (0..100).filter(|nth| urls.have(&key(&format!("https://shop.example/shoes/{nth}"))));
        assert!(others.count() < 3);
    }
}
