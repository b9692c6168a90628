//! Tags, and which generation of them an entry belongs to.

/// The tags of an entry, and how many purges there had been when the entry was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamped {
    pub(super) asked: u64,
    /// Where each tag has its place among the [generations](super::generations::Generations).
    pub(super) slots: Box<[u32]>,
}

impl Stamped {
    /// Another tag, if it is not there yet.
    pub(super) fn add(&mut self, slot: u32) {
        if !self.slots.contains(&slot) {
            self.slots = self.slots.iter().copied().chain([slot]).collect();
        }
    }

    pub(super) fn weight(&self) -> usize {
        if self.slots.is_empty() { 0 } else { size_of_val(&*self.slots) + 16 }
    }
}
