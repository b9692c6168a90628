//! The memory of a cache.
