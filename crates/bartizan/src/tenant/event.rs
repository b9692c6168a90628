//! What the layer tells whoever watches it.

use super::{known::Tenant, refused::Refused};

/// What happened to one request at this layer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It goes on for this tenant.
    Admitted {
        /// For whom it is.
        tenant: &'a Tenant,
        /// How sure that is.
        assurance: Assurance,
    },
    /// It goes on for nobody.
    Anonymous,
    /// It was answered here.
    Refused(Refused),
}

/// How sure it is that an admitted tenant is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// The set or the directory knows it, or it is the default tenant.
    Known,
    /// The directory knew it, and is down now.
    Stale,
    /// Nobody was asked, or nobody could tell.
    Unverified,
}
