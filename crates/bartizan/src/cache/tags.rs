//! Tags, and which generation of them an entry belongs to.

use super::{
    form::checksum,
    generations::Generations,
    key::{CacheKey, Resource},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, ListEntry, Parser};
use tokio::time::Instant;

/// The tags of an entry, and how many purges there had been when the entry was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamped {
    pub(super) asked: u64,
    /// When that was.
    pub(super) at: Option<Instant>,
    /// Where each tag has its place among the [generations](super::generations::Generations).
    pub(super) slots: Box<[u32]>,
}

/// What entries have in common that are purged together, and whose they are: nobody purges what is another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label<'a> {
    Tag {
        partition: &'a [u8],
        tag: &'a [u8],
    },
    /// A tag in whatever partition.
    TagOfAny {
        tag: &'a [u8],
    },
    /// A group is one of its origin (RFC 9875 §2).
    Group {
        origin: &'a [u8],
        group: &'a [u8],
    },
    Url(Resource<'a>),
}

/// As Fastly and Varnish have it: separated by spaces.
pub(super) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// As Cloudflare and Akamai have it: separated by commas.
pub(super) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
pub(super) const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
pub(super) const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The fields that are for this cache alone, and not sent on. Groups are for every cache.
pub(super) static TAKEN_OUT: [HeaderName; 2] = [SURROGATE_KEY, CACHE_TAG];

const MOST: usize = 128;
const MOST_BYTES: usize = 8 * 1024;

// ===== impl Stamped =====

impl Stamped {
    /// The tags that the head of a response names. `None` if there are more than 128, or 8 KiB of them: what could not be
    /// purged by all its tags must not be stored.
    pub(super) fn read(headers: &HeaderMap, key: &CacheKey) -> Option<Self> {
        let mut slots: Vec<u32> = Vec::new();
        let mut bytes = 0;
        let partition = key.resource().partition;
        let (is_theirs, most) = (is_theirs(key), most(key));
        let mut add = |label: Label<'_>| {
            let slot = Generations::slot_of(&label);
            if !slots.contains(&slot) {
                slots.push(slot);
            }
            slots.len() <= most
        };
        for (name, separates) in [(SURROGATE_KEY, is_space as fn(&u8) -> bool), (CACHE_TAG, is_comma)] {
            for value in headers.get_all(name) {
                bytes += value.len();
                let tags = value.as_bytes().split(separates).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty());
                let mut add = |tag| add(Label::Tag { partition, tag }) && (!is_theirs || add(Label::TagOfAny { tag }));
                if bytes > MOST_BYTES || !tags.into_iter().all(&mut add) {
                    return None;
                }
            }
        }
        bytes += headers.get_all(CACHE_GROUPS).iter().map(HeaderValue::len).sum::<usize>();
        let origin = key.origin();
        let fits = bytes <= MOST_BYTES
            && groups(headers, &CACHE_GROUPS).iter().all(|group| add(Label::Group { origin, group: group.as_bytes() }));
        fits.then(|| Self { slots: slots.into(), ..Self::default() })
    }

    /// The tags of two that become one: whichever of them is purged, that is purged. `None` if there are more than one may have.
    pub(super) fn and(&self, other: &Self, key: &CacheKey) -> Option<Box<[u32]>> {
        let more = other.slots.iter().filter(|slot| !self.slots.contains(slot));
        let slots: Box<[u32]> = self.slots.iter().chain(more).copied().collect();
        // What is stored has the place of its URL among them.
        (slots.len() <= most(key) + 1).then_some(slots)
    }

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

// ===== impl Label =====

impl Label<'_> {
    /// The same in every process, since entries may go from one to another.
    pub(super) fn hash(&self) -> u64 {
        let (kind, whose, name) = match self {
            Self::Tag { partition, tag } => (0, *partition, *tag),
            Self::Group { origin, group } => (1, *origin, *group),
            Self::Url(key) => (2, key.partition, key.target),
            Self::TagOfAny { tag } => (3, &b""[..], *tag),
        };
        let hash = checksum(kind, whose);
        spread(checksum(hash, name))
    }
}

/// What is nobody's can only be purged with what is nobody's or with all.
fn is_theirs(key: &CacheKey) -> bool {
    key.resource().partition != &CacheKey::nobody()[..]
}

fn most(key: &CacheKey) -> usize {
    if is_theirs(key) { 2 * MOST } else { MOST }
}

/// The strings of a list (RFC 9875 §2, §3). A list that holds anything else is none.
pub(super) fn groups(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    // Few heads have one, and to look at all names takes less than to look for it.
    if headers.keys().all(|other| other != name) {
        return Vec::new();
    }
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let Ok(list) = Parser::new(&lines.join(&b", "[..])).parse::<sfv::List>() else { return Vec::new() };
    let strings = list.into_iter().map(|member| match member {
        ListEntry::Item(item) => match item.bare_item {
            BareItem::String(string) => Some(String::from(string)),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    });
    strings.collect::<Option<_>>().unwrap_or_default()
}

/// Each bit counts for each: of names that differ in their last letters a checksum differs in some of its bits only, which
/// may be those that choose no place.
fn spread(hash: u64) -> u64 {
    let fold = |hash: u64| (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let hash = fold(fold(hash));
    hash ^ hash >> 32
}

fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace()
}

fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

#[cfg(test)]
mod tests;
