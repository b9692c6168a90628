//! Who knows the tenants, when no fixed set does.

use super::{id::TenantId, known::Data};
use std::{any::Any, error::Error, fmt, future::Future, sync::Arc};

/// Knows the tenants: a database, another service, a file that changes.
///
/// A function is one, if it takes a [`TenantId`] and its future gives a `Result` of what turns into an [`Answer`]: a
/// `bool`, or an `Option` of what is to be known of the tenant.
///
/// ```
/// use bartizan::tenant::{CachedDirectory, TenantId};
/// use std::io;
///
/// let yes_or_no = CachedDirectory::new(async |id: TenantId| Ok::<_, io::Error>(id.as_str() == "acme"));
/// let with_plan = CachedDirectory::new(async |id: TenantId| Ok::<_, io::Error>((id.as_str() == "acme").then_some("gold")));
/// ```
///
/// Asked directly it answers each time; [`CachedDirectory`](super::CachedDirectory) asks it seldom.
pub trait Directory: Send + Sync + 'static {
    /// Why it can't tell. Logged, and never shown to a client.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Looks one tenant up. An error is not an answer: nothing is concluded from it and nothing remembered.
    fn look_up(&self, id: TenantId) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

/// What a directory knows of a name.
#[derive(Clone)]
pub struct Answer(Kind);

#[derive(Clone)]
enum Kind {
    Unknown,
    Known(Option<Data>),
}

impl<F, Fut, A, E> Directory for F
where
    F: Fn(TenantId) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, E>> + Send,
    A: Into<Answer>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Error = E;

    async fn look_up(&self, id: TenantId) -> Result<Answer, E> {
        self(id).await.map(Into::into)
    }
}

// ===== impl Answer =====

impl Answer {
    /// No tenant has this name.
    pub const UNKNOWN: Self = Self(Kind::Unknown);

    /// A tenant has this name, and there is no more to say.
    pub const KNOWN: Self = Self(Kind::Known(None));

    /// A tenant has this name, and this is to be known of it where it is admitted, as
    /// [`Tenant::data`](super::Tenant::data).
    #[must_use]
    pub fn known_with(data: impl Any + Send + Sync) -> Self {
        Self(Kind::Known(Some(Arc::new(data))))
    }

    /// What is to be known of the tenant, if there is one.
    pub(super) fn into_data(self) -> Option<Option<Data>> {
        match self.0 {
            Kind::Unknown => None,
            Kind::Known(data) => Some(data),
        }
    }
}

impl From<bool> for Answer {
    fn from(known: bool) -> Self {
        if known { Self::KNOWN } else { Self::UNKNOWN }
    }
}

impl<T: Any + Send + Sync> From<Option<T>> for Answer {
    fn from(known: Option<T>) -> Self {
        known.map_or(Self::UNKNOWN, Self::known_with)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Unknown => "Unknown",
            Kind::Known(None) => "Known",
            Kind::Known(Some(_)) => "KnownWith(..)",
        })
    }
}
