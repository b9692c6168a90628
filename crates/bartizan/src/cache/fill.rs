//! A body that is stored while it streams.
