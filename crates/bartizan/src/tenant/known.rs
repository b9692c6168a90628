//! A tenant, and a fixed set of them.

use super::id::{InvalidTenantId, TenantId};
use bartizan_store::{Key, Scoped};
use http::{Extensions, request};
use std::{
    any::Any,
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

/// The tenant for whom a request is. Stands in the request's extensions.
///
/// A clone shares everything. Two are equal if their names are.
#[derive(Clone)]
pub struct Tenant {
    id: TenantId,
    data: Option<Data>,
}

/// What was said of a tenant besides its name.
pub(super) type Data = Arc<dyn Any + Send + Sync>;

/// All the tenants there are, when they are known beforehand.
///
/// ```
/// use bartizan::tenant::{Tenant, TenantId, TenantSet};
///
/// let plain = TenantSet::new(["acme", "globex"])?;
/// let with_plans = TenantSet::new([
///     Tenant::from(TenantId::new("acme")?).with("gold"),
///     Tenant::from(TenantId::new("globex")?).with("free"),
/// ])?;
/// # Ok::<(), bartizan::tenant::InvalidTenantId>(())
/// ```
#[derive(Clone)]
pub struct TenantSet {
    by_name: Arc<HashMap<TenantId, Tenant, BuildHasherDefault<ByWords>>>,
}

/// The hash of a name, eight bytes at a time. Nobody but the operator puts names into the set, so nobody can make them
/// collide.
#[derive(Clone, Copy, Default)]
struct ByWords(u64);

/// Stands in the extensions of a request that was let in without a tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anonymous;

// ===== impl Tenant =====

impl Tenant {
    /// The tenant of the request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Whether a layer let the request with these extensions in without a tenant. Where neither a tenant nor this is
    /// to be found, the request has passed no layer.
    #[must_use]
    pub fn is_waived(extensions: &Extensions) -> bool {
        extensions.get::<Anonymous>().is_some()
    }

    /// The key of the request's tenant, for whatever is kept per tenant: `.key_by(Tenant::key)`.
    #[must_use]
    pub fn key(head: &request::Parts) -> Option<Key> {
        Self::of(&head.extensions).map(|tenant| Key::new(tenant.id()))
    }

    /// The name.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The name, as what a function that takes a tenant's name can rely on.
    #[must_use]
    pub fn tenant_id(&self) -> &TenantId {
        &self.id
    }

    /// What the directory said of this tenant, or what was added [`with`](Self::with) it, if it is a `T`: its plan, say.
    #[must_use]
    pub fn data<T: Any>(&self) -> Option<&T> {
        self.data.as_deref()?.downcast_ref()
    }

    /// Adds what is to be known of this tenant where it is admitted, in the place of what was.
    #[must_use]
    pub fn with(mut self, data: impl Any + Send + Sync) -> Self {
        self.data = Some(Arc::new(data));
        self
    }

    /// The part of a store that is this tenant's. Nothing that goes through it reads or writes another's.
    pub fn scope<S>(&self, store: S) -> Scoped<S> {
        Scoped::new(store, Key::new(self.id()))
    }

    pub(super) fn new(id: TenantId, data: Option<Data>) -> Self {
        Self { id, data }
    }
}

impl From<TenantId> for Tenant {
    fn from(id: TenantId) -> Self {
        Self { id, data: None }
    }
}

impl TryFrom<&str> for Tenant {
    type Error = InvalidTenantId;

    fn try_from(name: &str) -> Result<Self, InvalidTenantId> {
        TenantId::new(name).map(Self::from)
    }
}

impl TryFrom<String> for Tenant {
    type Error = InvalidTenantId;

    fn try_from(name: String) -> Result<Self, InvalidTenantId> {
        TenantId::new(name).map(Self::from)
    }
}

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Tenant {}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.id)
    }
}

// ===== impl TenantSet =====

impl TenantSet {
    /// The set of these tenants: their names, or each a [`Tenant`] with what is to be known of it.
    ///
    /// # Errors
    /// If one of them has a name that no tenant can have.
    pub fn new<T>(tenants: impl IntoIterator<Item = T>) -> Result<Self, InvalidTenantId>
    where
        T: TryInto<Tenant>,
        InvalidTenantId: From<T::Error>,
    {
        let tenants = tenants.into_iter().map(|tenant| {
            let tenant = tenant.try_into()?;
            Ok((tenant.id.clone(), tenant))
        });
        Ok(Self { by_name: Arc::new(tenants.collect::<Result<_, InvalidTenantId>>()?) })
    }

    /// The tenant of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tenant> {
        self.find(name.as_bytes())
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<&Tenant> {
        self.by_name.get(name)
    }
}

impl fmt::Debug for TenantSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

// ===== impl ByWords =====

impl ByWords {
    /// The last word overlaps the one before; a name that is shorter than one is padded.
    ///
    /// Never inlined, as it needs nothing kept: what looks a name up is then short enough to be inlined itself.
    #[inline(never)]
    fn with(self, name: &[u8]) -> Self {
        let Some((&first, rest)) = name.split_first_chunk() else {
            return self.and(name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        };
        let hash = self.and(u64::from_le_bytes(first));
        let hash = rest.as_chunks().0.iter().fold(hash, |hash, &word| hash.and(u64::from_le_bytes(word)));
        name.last_chunk().map_or(hash, |&last| hash.and(u64::from_le_bytes(last)))
    }

    fn and(self, word: u64) -> Self {
        Self((self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Hasher for ByWords {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        *self = self.with(bytes);
    }

    /// The length that is hashed in front of the bytes.
    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    /// A map takes its places from the lower bits, and a product has its best ones at the top.
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
