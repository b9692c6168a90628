//! Tags, and which generation of them an entry belongs to.

/// The tags of an entry, each with its generation when the entry was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamped(Box<[(u32, u64)]>);
