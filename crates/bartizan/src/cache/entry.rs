//! What is stored.

use super::{
    fill::Fill,
    policy::{self, Parts, Selecting, Terms},
    tags::Stamped,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::{cmp::Ordering, sync::Arc};

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

    /// RFC 9111 §4: which of two is more recent. That is the one that was asked for later, whichever came first; of two that
    /// were asked for at once, `Date` tells.
    pub(super) fn is_older(&self, other: &Self) -> bool {
        self.tags.at.cmp(&other.tags.at).then_with(|| policy::by_date(&self.headers, &other.headers)) == Ordering::Less
    }

    /// Whether it is not stored in the place of another that the same requests select.
    pub(super) fn gives_way(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Head, Content::Head) => self.is_older(other),
            // Who asks with `GET` would have nothing.
            (Content::Head, _) => true,
            (_, Content::Head) => self.is_older(other) && !self.has_head(&other.headers),
            _ => self.is_older(other),
        }
    }

    /// Whether an answer to `HEAD` can be about this (RFC 9111 §4.3.5).
    pub(super) fn has_head(&self, from_head: &HeaderMap) -> bool {
        policy::is_same_by_head(&self.headers, self.content.length(), from_head)
    }
}

// ===== impl Content =====

impl Content {
    /// How long the whole is, if that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Parts(parts) => parts.complete(),
            Self::Filling(fill) => fill.expected(),
            Self::Head => None,
        }
    }
}
