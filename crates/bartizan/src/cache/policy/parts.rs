//! Parts of a representation that are stored until they are whole (RFC 9111 §3.3, §3.4).

use super::{
    condition::only,
    content_range::ContentRange,
    etag::EntityTag,
    range::{RangeAsk, Resolved, number},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use smallvec::SmallVec;
use std::ops::Range;

/// How many separate pieces are kept. Another is not stored.
const PIECES: usize = 64;

/// Parts of one representation, which all have the same strong validator; sorted, and none overlaps another. They may
/// touch: nothing is copied until all is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Parts {
    /// How long the whole would be, if that is known.
    complete: Option<u64>,
    /// Where each part begins, and its bytes.
    parts: Vec<(u64, Bytes)>,
}

// ===== impl Parts =====

impl Parts {
    /// The content of a 206. `None` if it is not what its `Content-Range` says; one of several parts has none.
    pub(in crate::cache) fn of(head: &HeaderMap, content: Bytes) -> Option<Self> {
        let said = ContentRange::read(head)?;
        if said.range.end - said.range.start != length(&content) {
            return None;
        }
        Some(Self { complete: said.complete, parts: vec![(said.range.start, content)] })
    }

    /// What came of a 200 before it broke off (RFC 9111 §3.3), if it is possible to ask for the rest.
    pub(in crate::cache) fn broken_off(head: &HeaderMap, content: Bytes) -> Option<Self> {
        EntityTag::strong(head)?;
        let complete = number(only(head, &header::CONTENT_LENGTH)?.as_bytes())?;
        let is_part = !content.is_empty() && length(&content) < complete;
        is_part.then(|| Self { complete: Some(complete), parts: vec![(0, content)] })
    }

    /// These and those, of which `head` is what is stored with these and `other_head` came with those. `None` if they are
    /// not of one representation, or if they are too many pieces.
    pub(in crate::cache) fn and(&self, head: &HeaderMap, other: &Self, other_head: &HeaderMap) -> Option<Self> {
        // RFC 9111 §3.4: parts are combined only if they have the same strong validator.
        let same = EntityTag::strong(head)?.matches_strongly(&EntityTag::strong(other_head)?);
        let complete = match (self.complete, other.complete) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        if !same || complete.is_some_and(|complete| self.end().max(other.end()) > complete) {
            return None;
        }
        let mut parts = self.parts.clone();
        for (start, bytes) in &other.parts {
            for gap in self.missing(&(*start..*start + length(bytes))) {
                let (from, to) = (usize::try_from(gap.start - start).ok()?, usize::try_from(gap.end - start).ok()?);
                // A piece of one that is known already keeps nothing alive but itself, which is what counts.
                let piece =
                    if to - from == bytes.len() { bytes.clone() } else { Bytes::copy_from_slice(&bytes[from..to]) };
                parts.push((gap.start, piece));
            }
        }
        parts.sort_unstable_by_key(|(start, _)| *start);
        let mut both = Self { complete, parts };
        if both.parts.len() > PIECES {
            both.join();
        }
        (both.parts.len() <= PIECES).then_some(both)
    }

    /// What they take, in bytes.
    pub(in crate::cache) fn weight(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes.len() + size_of::<(u64, Bytes)>() + 64).sum()
    }

    pub(in crate::cache) fn complete(&self) -> Option<u64> {
        self.complete
    }

    #[cfg(any(fuzzing, test))]
    /// How many bytes are kept.
    pub(in crate::cache) fn len(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| length(bytes)).sum()
    }

    /// What of a range is not here, in order.
    pub(in crate::cache) fn missing(&self, wanted: &Range<u64>) -> SmallVec<[Range<u64>; 4]> {
        let mut missing = SmallVec::new();
        let mut from = wanted.start;
        for (start, bytes) in &self.parts {
            if *start >= wanted.end {
                break;
            }
            if *start > from {
                missing.push(from..*start);
            }
            from = from.max(start + length(bytes));
        }
        if from < wanted.end {
            missing.push(from..wanted.end);
        }
        missing
    }

    /// The bytes of a range, in as many pieces as they came in. Says `None` and gives nothing if not all are here
    /// (RFC 9111 §3.3: a part answers no more than itself).
    pub(in crate::cache) fn slice(&self, range: &Range<u64>, pieces: &mut Vec<Bytes>) -> Option<()> {
        if !self.missing(range).is_empty() {
            return None;
        }
        for (start, bytes) in &self.parts {
            let end = start + length(bytes);
            if end > range.start && *start < range.end {
                let from = usize::try_from(range.start.saturating_sub(*start)).ok()?;
                let to = usize::try_from(end.min(range.end) - start).ok()?;
                pieces.push(bytes.slice(from..to));
            }
        }
        Some(())
    }

    /// What a request for ranges gets. `None` if not all that it asks for is here.
    pub(in crate::cache) fn resolve(&self, ask: &RangeAsk) -> Option<Resolved> {
        let resolved = match self.complete {
            Some(complete) => ask.resolve(complete),
            None => Resolved::One(ask.closed()?),
        };
        let is_here = match &resolved {
            Resolved::Full => false,
            Resolved::One(range) => self.missing(range).is_empty(),
            Resolved::Many(ranges) => ranges.iter().all(|range| self.missing(range).is_empty()),
            Resolved::Unsatisfiable => true,
        };
        is_here.then_some(resolved)
    }

    /// How much of the whole is not there, if that is known.
    pub(in crate::cache) fn missing_of_whole(&self) -> Option<u64> {
        let missing = self.missing(&(0..self.complete?));
        Some(missing.iter().map(|range| range.end - range.start).sum())
    }

    /// Everything, if it is here: it is a 200 then.
    pub(in crate::cache) fn whole(&self) -> Option<Bytes> {
        let complete = self.complete?;
        if !self.missing(&(0..complete)).is_empty() {
            return None;
        }
        if let [(0, all)] = &*self.parts {
            return Some(all.clone());
        }
        let mut all = BytesMut::with_capacity(usize::try_from(complete).ok()?);
        for (_, bytes) in &self.parts {
            all.extend_from_slice(bytes);
        }
        Some(all.freeze())
    }

    /// Asks for what is missing of `wanted`, or of everything, as one range and only if it is of the same representation
    /// (RFC 9111 §3.3, §4.3.1). Says whether it could: that needs a strong validator.
    ///
    /// The answer is 206 with the part, or 200 with everything, anew.
    pub(in crate::cache) fn ask_for_missing(
        &self,
        head: &HeaderMap,
        wanted: Option<&Range<u64>>,
        request: &mut HeaderMap,
    ) -> bool {
        let all = 0..self.complete.unwrap_or(u64::MAX);
        let missing = self.missing(wanted.unwrap_or(&all));
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return false };
        let range = match last.end == all.end {
            true => format!("bytes={}-", first.start),
            false => format!("bytes={}-{}", first.start, last.end - 1),
        };
        let tag = EntityTag::strong(head).and_then(|tag| HeaderValue::from_bytes(tag.written()).ok());
        let Some((tag, range)) = tag.zip(HeaderValue::try_from(range).ok()) else { return false };
        request.insert(header::RANGE, range);
        request.insert(header::IF_RANGE, tag);
        true
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |(start, bytes)| start + length(bytes))
    }

    /// Makes one piece of those that touch.
    fn join(&mut self) {
        let mut joined: Vec<(u64, BytesMut)> = Vec::new();
        for (start, bytes) in &self.parts {
            match joined.last_mut() {
                Some((from, before)) if *from + before.len() as u64 == *start => before.extend_from_slice(bytes),
                _ => joined.push((*start, BytesMut::from(&**bytes))),
            }
        }
        self.parts = joined.into_iter().map(|(start, bytes)| (start, bytes.freeze())).collect();
    }
}

/// The head that is kept with parts, or with the whole that they became: which part it was and how long no longer holds.
pub(in crate::cache) fn without_range(mut head: HeaderMap) -> HeaderMap {
    head.remove(header::CONTENT_RANGE);
    head.remove(header::CONTENT_LENGTH);
    head
}

fn length(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests;
