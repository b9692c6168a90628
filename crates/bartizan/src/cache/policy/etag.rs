//! Entity tags (RFC 9110 §8.8.3).

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

/// An entity tag, where it stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct EntityTag<'a> {
    weak: bool,
    /// What is between the quotes.
    opaque: &'a [u8],
    /// All of it, as it was received.
    written: &'a [u8],
}

/// What `If-None-Match` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// `*`: anything that there is.
    Anything,
    /// One of these. What is no entity tag is left out.
    Tags(SmallVec<[EntityTag<'a>; 2]>),
}

// ===== impl EntityTag =====

impl<'a> EntityTag<'a> {
    /// The entity tag of a response. One that is not valid is none, and so are two.
    pub(in crate::cache) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::ETAG).iter();
        let tag = lines.next()?;
        if lines.next().is_some() { None } else { Self::parse(tag.as_bytes()) }
    }

    /// The entity tag of a response, if it is a strong one.
    pub(in crate::cache) fn strong(headers: &'a HeaderMap) -> Option<Self> {
        Self::of(headers).filter(|tag| !tag.weak)
    }

    /// Reads a value that is one tag and nothing else.
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (tag, rest) = Self::take(value)?;
        rest.is_empty().then_some(tag)
    }

    /// RFC 9110 §8.8.3: `W/` is case-sensitive, and a backslash is a character like others. Between the quotes may stand
    /// what is visible, a comma too, and what is not ASCII.
    fn take(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, tag) = value.strip_prefix(b"W/").map_or((false, value), |tag| (true, tag));
        let tag = tag.strip_prefix(b"\"")?;
        let end = tag.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        if tag[end] != b'"' {
            return None;
        }
        let (written, rest) = value.split_at(value.len() - (tag.len() - end - 1));
        Some((Self { weak, opaque: &tag[..end], written }, rest))
    }

    #[cfg(any(fuzzing, test))]
    pub(in crate::cache) fn is_weak(&self) -> bool {
        self.weak
    }

    /// The tag as it was received, with its quotes.
    pub(in crate::cache) fn written(&self) -> &'a [u8] {
        self.written
    }

    /// RFC 9110 §8.8.3.2: tags match strongly if neither is weak and their characters are the same.
    pub(in crate::cache) fn matches_strongly(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// RFC 9110 §8.8.3.2: they match weakly if their characters are the same.
    pub(in crate::cache) fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

// ===== impl Wanted =====

impl<'a> Wanted<'a> {
    /// Reads a list of tags, which may go over several lines. `None` if the field is not there.
    ///
    /// What is no tag is passed over up to the next comma: it can make a condition hold that would not have held, so
    /// that more is sent than need be, and never the other way round.
    pub(super) fn read(headers: &'a HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes().trim_ascii()).peekable();
        lines.peek()?;
        let mut tags = SmallVec::new();
        let mut star = false;
        let mut members = 0_usize;
        for mut rest in lines {
            while let Some(from) = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b',')) {
                rest = &rest[from..];
                members += 1;
                let (tag, after) = EntityTag::take(rest).map_or((None, rest), |(tag, after)| (Some(tag), after));
                let end = after.iter().position(|&byte| byte == b',').unwrap_or(after.len());
                let after_tag = after[..end].trim_ascii();
                match tag {
                    Some(tag) if after_tag.is_empty() => tags.push(tag),
                    None if after_tag == b"*" => star = true,
                    Some(_) | None => {}
                }
                rest = &after[end..];
            }
        }
        // RFC 9110 §13.1.2: `*` stands alone.
        Some(if star && members == 1 { Self::Anything } else { Self::Tags(tags) })
    }

    /// RFC 9110 §13.1.2: `If-None-Match` compares weakly.
    pub(super) fn matches(&self, stored: Option<EntityTag<'_>>) -> bool {
        match self {
            Self::Anything => true,
            Self::Tags(tags) => stored.is_some_and(|stored| tags.iter().any(|tag| tag.matches_weakly(&stored))),
        }
    }
}

#[cfg(test)]
mod tests;
