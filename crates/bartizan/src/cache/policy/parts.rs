//! Parts of a representation that are stored until they are whole (RFC 9111 §3.3, §3.4).

use bytes::Bytes;

/// Parts of one representation, which all have the same strong validator; sorted, none overlaps or touches another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Parts {
    /// How long the whole would be, if that is known.
    complete: Option<u64>,
    /// Where each part begins, and its bytes.
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    /// What they take beside themselves, in bytes.
    pub(in crate::cache) fn weight(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len() + size_of::<(u64, Bytes)>() + 64).sum()
    }
}
