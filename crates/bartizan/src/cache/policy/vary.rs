//! Which stored response a request selects (RFC 9111 §4.1).

use super::Normalise;
use http::{HeaderMap, HeaderName};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Selecting {
    /// Each name with its normalised value; `None` if the request did not have it.
    fields: Box<[(HeaderName, Option<Box<[u8]>>)]>,
}

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
impl Selecting {
    /// As if `Vary` had named these.
    pub(in crate::cache) fn literally(fields: &[(HeaderName, &str)]) -> Self {
        Self { fields: fields.iter().map(|(name, value)| (name.clone(), Some(value.as_bytes().into()))).collect() }
    }
}
