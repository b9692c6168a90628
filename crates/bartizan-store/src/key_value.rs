//! Keeping values for a while.

use crate::{Key, Unavailable};
use bytes::Bytes;
use std::{future::Future, time::Duration};

/// Where values are kept until they expire, are removed, or make room for others.
pub trait KeyValue: Send + Sync + 'static {
    /// The value under `key`, if it is still there.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Bytes>, Unavailable>> + Send;

    /// Keeps `value` under `key` for `ttl`, in the place of what was there.
    fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Forgets what is under `key`.
    fn remove(&self, key: &Key) -> impl Future<Output = Result<(), Unavailable>> + Send;
}
