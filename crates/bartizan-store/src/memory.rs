//! Everything in this process: bounded, shared by clones.

use crate::{
    Charge, Decision, Key, KeyValue, Stamp, Standing, Throttle, Unavailable,
    buckets::{Buckets, Step},
    throttle::nanos,
    values::Values,
};
use bytes::Bytes;
use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Quotas and values in this process. Clones share them.
///
/// **Memory is bounded.** A table for `n` keys is allocated at once and never grows: 128 bytes for each set of six
/// buckets, two sets for seven keys; so 37 bytes a key, 3.5 MiB for the 100 000 keys of [`new`](Self::new). Keys are told
/// apart by a hash of 64 bits whose secret is drawn for each `Memory`: any two keys, whoever chose them, share a bucket
/// with a probability of 2⁻⁶⁴. Quotas that count in windows live in a second table of the same kind, made when the first
/// of them is used: 384 bytes for each set, which is 10.5 MiB more for the keys of [`new`](Self::new); and what they count, in a
/// piece of memory for each key that counts. For a fixed or a calendar window that is one entry of 16 bytes, which with glibc
/// takes 32 bytes of memory, by measurement. A sliding window has an entry for each segment, a sliding log for each request, with
/// up to as much room again to grow: 143 bytes for five entries, and at most 16 KiB for a key, in a log of more than 512, so
/// that the 200 000 places of [`new`](Self::new), all full, would take 3 GiB. Give a long log a memory of its own for as few
/// keys as need one.
///
/// **A debt is never forgiven.** A bucket gives way to another only when it is full again. Where all buckets of a set
/// are in use, further keys that fall into it share one: a flood of invented keys can make strangers wait for each
/// other, and for the slowest of their quotas, but lets nobody pass who would have had to wait. So give quotas by the day
/// a memory of their own, apart from those by the second.
///
/// Values are kept in at most 64 MiB, keys and bookkeeping included; over that, those least used make room.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Wall time when it began, in nanoseconds since 1970. Read once, so that later jumps of the wall clock do nothing.
    began_wall: u64,
    buckets: Buckets,
    values: Values,
}

const DEFAULT_KEYS: usize = 100_000;

/// Fewer take 32 KiB all the same: keys of one set have to do with each other, and a few should not all be in one.
const FEWEST_KEYS: usize = 896;

// ===== impl Memory =====

impl Memory {
    /// Memory for about 100 000 keys that are limited at the same time.
    #[must_use]
    pub fn new() -> Self {
        Self::for_keys(DEFAULT_KEYS)
    }

    /// Memory for about `keys` keys, or 896, that are limited at the same time. A key whose bucket is full takes no room.
    #[must_use]
    pub fn for_keys(keys: usize) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            began_wall: wall_now(),
            buckets: Buckets::for_keys(keys.max(FEWEST_KEYS)),
            values: Values::new(),
        }))
    }

    /// The bytes that the tables of buckets take. They do not depend on how many keys have been seen.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.0.buckets.bytes()
    }

    #[inline]
    fn now(&self) -> u64 {
        let elapsed = self.0.began.elapsed();
        // Nobody waits for the five hundred years after which this would be too large.
        self.0.began_wall + elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("table_bytes", &self.table_bytes()).finish_non_exhaustive()
    }
}

impl Throttle for Memory {
    type Deciding = Ready<Result<Decision, Unavailable>>;

    fn decide(&self, charges: &[Charge<'_>]) -> Self::Deciding {
        ready(Ok(self.0.buckets.step(charges, Step::Take, self.now())))
    }

    #[inline(always)]
    fn take(&self, charge: &Charge<'_>) -> Option<Result<(), Standing>> {
        self.0.buckets.take(charge, || self.now())
    }

    fn peek(&self, charges: &[Charge<'_>]) -> Self::Deciding {
        ready(Ok(self.0.buckets.step(charges, Step::Look, self.now())))
    }

    fn settle(&self, charge: &Charge<'_>, stamp: Stamp, actual: u32) {
        self.0.buckets.settle(charge, stamp, actual, self.now());
    }
}

impl KeyValue for Memory {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Unavailable> {
        Ok(self.0.values.get(key))
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Unavailable> {
        self.0.values.set(*key, &value, ttl);
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), Unavailable> {
        self.0.values.remove(key);
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "read once, to align calendar windows")]
fn wall_now() -> u64 {
    nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
