//! What is stored.

use super::{
    fill::Fill,
    policy::{Parts, Selecting, Terms},
    tags::Stamped,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Everything that is stored under one key: the responses among which a request selects.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// The youngest first, as RFC 9111 §4.1 prefers it.
    pub(super) entries: Vec<Arc<Entry>>,
}

/// One stored response.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) status: StatusCode,
    /// As they are sent on reuse, with a place for `Age`; without what was for one connection only, and without tags.
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) terms: Terms,
    pub(super) selecting: Selecting,
    pub(super) tags: Stamped,
}

/// What is stored of a body.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Whole(Bytes),
    Parts(Parts),
    /// It is on its way, and can be read along. Not in the memory.
    Filling(Arc<Fill>),
    /// The response to a `HEAD`, which says nothing but its head.
    Head,
}

// ===== impl Entry =====

impl Entry {
    /// The same with another content.
    pub(super) fn copy_with(&self, content: Content) -> Self {
        Self {
            status: self.status,
            headers: self.headers.clone(),
            content,
            trailers: self.trailers.clone(),
            terms: self.terms.clone(),
            selecting: self.selecting.clone(),
            tags: self.tags.clone(),
        }
    }
}
