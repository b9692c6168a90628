//! What came of a body, found by its place.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// The bytes of a body from some place on.
#[derive(Default)]
pub(super) struct Chunks {
    /// Where each begins, and its bytes; none is empty.
    kept: VecDeque<(u64, Bytes)>,
    /// How many bytes came, kept or not.
    len: u64,
}

/// Two neighbours that are together no longer than this become one: a body that trickles takes no more room than one
/// that pours.
const SMALL: usize = 4096;

// ===== impl Chunks =====

impl Chunks {
    /// How many bytes came.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Where what is kept begins.
    pub(super) fn start(&self) -> u64 {
        self.kept.front().map_or(self.len, |(start, _)| *start)
    }

    pub(super) fn push(&mut self, data: Bytes) {
        let start = self.len;
        self.len += data.len() as u64;
        match self.kept.back_mut() {
            Some((_, last)) if last.len() + data.len() <= SMALL => *last = joined(&[last.clone(), data]),
            _ => self.kept.push_back((start, data)),
        }
    }

    /// What is there from `at` on, in one piece, and not beyond `end`.
    pub(super) fn read(&self, at: u64, end: u64) -> Option<Bytes> {
        let after = self.kept.partition_point(|(start, _)| *start <= at);
        let (start, chunk) = self.kept.get(after.checked_sub(1)?)?;
        let skipped = usize::try_from(at - start).ok().filter(|skipped| *skipped < chunk.len())?;
        let most = usize::try_from(end - at).unwrap_or(usize::MAX);
        Some(chunk.slice(skipped..chunk.len().min(skipped.saturating_add(most))))
    }

    /// Frees what lies wholly before `at`.
    pub(super) fn forget_before(&mut self, at: u64) {
        while self.kept.front().is_some_and(|(start, chunk)| start + chunk.len() as u64 <= at) {
            self.kept.pop_front();
        }
    }

    /// All pieces that are kept.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.kept.iter().map(|(_, chunk)| chunk.clone()).collect()
    }

    /// Puts the same bytes in one piece in the place of all.
    pub(super) fn replace(&mut self, whole: Bytes) {
        debug_assert_eq!(whole.len() as u64, self.len, "only the whole replaces its pieces");
        self.kept.clear();
        if !whole.is_empty() {
            self.kept.push_back((0, whole));
        }
    }

    #[cfg(all(test, not(bartizan_loom)))]
    pub(super) fn held(&self) -> usize {
        self.kept.iter().map(|(_, chunk)| chunk.len()).sum()
    }
}

/// The pieces as one. A single one is taken as it is.
pub(in crate::cache) fn joined(pieces: &[Bytes]) -> Bytes {
    if let [only] = pieces {
        return only.clone();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}
