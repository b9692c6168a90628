//! Values that expire, in a cache that is bounded by bytes.

use crate::Key;
use bytes::Bytes;
use moka::sync::Cache;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Values(Cache<Key, Value>);

#[derive(Clone)]
struct Value {
    bytes: Bytes,
    ttl: Duration,
    set_at: Instant,
}

const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a value takes beside its bytes, about: the key twice, and the cache's bookkeeping.
const OVERHEAD: usize = 320;

impl Values {
    pub(crate) fn new() -> Self {
        let weight = |_: &Key, value: &Value| u32::try_from(value.bytes.len() + OVERHEAD).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(MOST_BYTES).weigher(weight).expire_after(HouseKeeping).build())
    }

    /// The cache sweeps by a clock of its own; whether a value has expired is told by tokio's.
    pub(crate) fn get(&self, key: &Key) -> Option<Bytes> {
        self.0.get(key).filter(|value| value.set_at.elapsed() < value.ttl).map(|value| value.bytes)
    }

    pub(crate) fn set(&self, key: Key, bytes: &[u8], ttl: Duration) {
        // Copied: they may be a small part of something large, which would live as long.
        let bytes = Bytes::copy_from_slice(bytes);
        self.0.insert(key, Value { bytes, ttl, set_at: Instant::now() });
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.0.invalidate(key);
    }
}

struct HouseKeeping;

#[allow(clippy::disallowed_types, reason = "moka hands us its clock's instants, which we do not read")]
impl moka::Expiry<Key, Value> for HouseKeeping {
    fn expire_after_create(&self, _: &Key, value: &Value, _: std::time::Instant) -> Option<Duration> {
        Some(value.ttl)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        value: &Value,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_keeps_nothing_alive_but_itself() {
        let values = Values::new();
        let large = Bytes::from(vec![7; 1 << 20]);
        values.set(Key::GLOBAL, &large.slice(..10), Duration::from_secs(60));
        assert!(large.is_unique(), "the value holds all of it");
        assert_eq!(values.get(&Key::GLOBAL).as_deref(), Some(&[7; 10][..]));
    }
}
