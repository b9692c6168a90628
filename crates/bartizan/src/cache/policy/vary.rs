//! Which stored response a request selects (RFC 9111 §4.1).

mod value;

use self::value::{SECRETS, Value};
use super::{Normalise, fields};
use http::{HeaderMap, HeaderName, header};
use std::hash::BuildHasher;

/// How many fields a response may vary by, and how much of a request is kept for it. What goes beyond selects nothing.
const FIELDS: usize = 16;
const BYTES: usize = 4 * 1024;

/// What `Vary` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Vary {
    /// Every request selects the response.
    Nothing,
    /// Those requests do whose fields of these names match; sorted, each once.
    Fields(Box<[HeaderName]>),
    /// `*`: no request does.
    Everything,
}

/// The fields that `Vary` names, as they stood in the request that a response answers; nothing else of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Selecting {
    fields: Box<[(HeaderName, Value)]>,
}

// ===== impl Vary =====

impl Vary {
    /// Reads all lines of the field. What cannot be a name of a field is treated as `*`, as is a list too long to keep.
    pub(in crate::cache) fn read(response: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields::members(response, &header::VARY) {
            // RFC 9111 §4.1: `*` as a member, on whichever line, never matches.
            let Some(name) = (member != b"*").then(|| HeaderName::from_bytes(member).ok()).flatten() else {
                return Self::Everything;
            };
            if !names.contains(&name) {
                names.push(name);
            }
            if names.len() > FIELDS {
                return Self::Everything;
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        if names.is_empty() { Self::Nothing } else { Self::Fields(names.into()) }
    }
}

// ===== impl Selecting =====

impl Selecting {
    /// Each name with its normalised value.
    pub(in crate::cache) fn fields(&self) -> &[(HeaderName, Option<Box<[u8]>>)] {
        &self.fields
    }

    /// What it takes beside itself, in bytes.
    pub(in crate::cache) fn weight(&self) -> usize {
        let values = self.fields.iter().filter_map(|(_, value)| value.as_ref()).map(|value| value.len() + 16);
        size_of_val(&*self.fields) + values.sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
