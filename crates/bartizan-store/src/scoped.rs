//! A store of which one tenant sees its own part only.

use crate::{Charge, Key, KeyValue, Stamp, Throttle, Unavailable};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{future::Future, time::Duration};

/// A store narrowed to one scope: every key that goes in or comes out belongs to it.
///
/// There is no way to the store inside, and no key that leads out of the scope: keys are joined one to one, whatever
/// bytes they are made of.
///
/// ```
/// use bartizan_store::{Key, KeyValue, Memory, Scoped};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bartizan_store::Unavailable> {
/// let store = Memory::new();
/// let (acme, globex) = (Scoped::new(store.clone(), Key::new("acme")), Scoped::new(store, Key::new("globex")));
/// acme.set(&Key::new("plan"), "gold".into(), Duration::from_secs(60)).await?;
/// assert_eq!(acme.get(&Key::new("plan")).await?.as_deref(), Some(&b"gold"[..]));
/// assert_eq!(globex.get(&Key::new("plan")).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Scoped<S> {
    store: S,
    scope: Key,
}

impl<S> Scoped<S> {
    /// The part of `store` that belongs to `scope`.
    pub fn new(store: S, scope: Key) -> Self {
        Self { store, scope }
    }

    fn key(&self, key: &Key) -> Key {
        Key::join([self.scope, *key])
    }
}

impl<S: Throttle> Scoped<S> {
    fn scoped<R>(&self, charges: &[Charge<'_>], f: impl FnOnce(&[Charge<'_>]) -> R) -> R {
        let keys: SmallVec<[Key; 2]> = charges.iter().map(|charge| self.key(charge.key)).collect();
        let charges: SmallVec<[Charge<'_>; 2]> =
            charges.iter().zip(&keys).map(|(&charge, key)| Charge { key, ..charge }).collect();
        f(&charges)
    }
}

impl<S: Throttle> Throttle for Scoped<S> {
    type Deciding = S::Deciding;

    fn decide(&self, charges: &[Charge<'_>]) -> S::Deciding {
        self.scoped(charges, |charges| self.store.decide(charges))
    }

    fn peek(&self, charges: &[Charge<'_>]) -> S::Deciding {
        self.scoped(charges, |charges| self.store.peek(charges))
    }

    fn settle(&self, charge: &Charge<'_>, stamp: Stamp, actual: u32) {
        let key = self.key(charge.key);
        self.store.settle(&Charge { key: &key, ..*charge }, stamp, actual);
    }
}

impl<S: KeyValue> KeyValue for Scoped<S> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Unavailable> {
        self.store.get(&self.key(key)).await
    }

    fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> impl Future<Output = Result<(), Unavailable>> + Send {
        let key = self.key(key);
        async move { self.store.set(&key, value, ttl).await }
    }

    async fn remove(&self, key: &Key) -> Result<(), Unavailable> {
        self.store.remove(&self.key(key)).await
    }
}
