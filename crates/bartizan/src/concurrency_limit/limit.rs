//! The limit itself: made before the layer, and kept to be read and turned.

use super::{
    gate::{Gate, Permit},
    table::Table,
};
use crate::shared::sync::Arc;
use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::OnceLock,
};

/// How many may be in flight at once, and how many are. Cloning it shares it, and so do the layers that are made of it.
#[derive(Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

struct Shared {
    /// Of all requests; where they are told apart, of those without a key.
    all: Arc<Gate>,
    /// Made when a layer first tells requests apart.
    keys: OnceLock<Table>,
    hasher: RandomState,
}

// ===== impl ConcurrencyLimit =====

impl ConcurrencyLimit {
    /// So many at once; where a layer tells requests apart by [`key_by`], so many for each key.
    ///
    /// There is no good default: it is what the service behind can do at once without slowing down. Take its throughput
    /// (requests per second) times its latency (seconds) when it is well, and half as much again.
    ///
    /// # Panics
    /// If it is 0: nobody would ever get in.
    ///
    /// [`key_by`]: super::ConcurrencyLimitLayer::key_by
    #[must_use]
    pub fn new(limit: u32) -> Self {
        assert!(limit > 0, "a limit of 0 would let nobody in");
        let all = Arc::new(Gate::new(limit));
        Self { shared: Arc::new(Shared { all, keys: OnceLock::new(), hasher: RandomState::new() }) }
    }

    /// Sets another limit while requests are in flight. With more room those who wait enter at once; with less, those
    /// who are in stay, and nobody enters until enough of them have left. 0 lets nobody in any more.
    pub fn resize(&self, limit: u32) {
        Gate::resize(&self.shared.all, limit);
        if let Some(keys) = self.shared.keys.get() {
            keys.resize(limit);
        }
    }

    /// How many may be in flight at once, or for each key.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.all.limit()
    }

    /// How many are in flight now, of all keys together. More than the limit only after it was lowered.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.all.in_flight() + self.shared.keys.get().map_or(0, Table::in_flight)
    }

    /// How many wait now, of all keys together.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.all.waiting() + self.shared.keys.get().map_or(0, Table::waiting)
    }

    /// A permit for something that is no request: a job that shares what the requests share, or a connection that goes
    /// on after its response. It counts among those without a key.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        Gate::enter(&self.shared.all)
    }

    /// Makes room for keys, unless there is some.
    pub(super) fn tell_apart(&self) {
        self.keys();
    }

    /// What is left of a key: the limit knows it again.
    pub(super) fn fingerprint(&self, key: &impl Hash) -> u64 {
        self.shared.hasher.hash_one(key)
    }

    /// The gate for all, or for those without a key.
    #[inline]
    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.shared.all
    }

    pub(super) fn gate_of(&self, key: u64) -> Arc<Gate> {
        self.keys().gate(key)
    }

    fn keys(&self) -> &Table {
        self.shared.keys.get_or_init(|| Table::new(self.shared.all.limit()))
    }
}

/// A number of requests at once, for a limit that nobody else needs to hold.
impl From<u32> for ConcurrencyLimit {
    fn from(limit: u32) -> Self {
        Self::new(limit)
    }
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
