//! Taking back what was stored.

use super::{
    entry::{Entry, Resource},
    generations::Generations,
    key::{self, CacheKey},
    memory::{ResponseCache, Shared},
    tags::{self, Label},
};
use bartizan_store::Key;
use http::HeaderMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What to take back from a [`ResponseCache`].
///
/// ```
/// use bartizan::cache::{CacheKey, Purge, ResponseCache};
///
/// let cache = ResponseCache::new(64 * 1024 * 1024);
/// let url = CacheKey::url("https://shop.example/shoes/42").expect("a URL");
/// let purged = cache.purge(&Purge::url(url));
/// assert_eq!(purged.keys, Some(0));
/// cache.purge(&Purge::tag("shoes").softly());
/// ```
///
/// Whatever was asked of the origin before a purge, and comes after it, is not stored, either.
#[derive(Clone, Debug)]
pub struct Purge {
    what: What,
    partition: Option<Key>,
    is_soft: bool,
}

#[derive(Clone, Debug)]
enum What {
    Url(CacheKey),
    Prefix(CacheKey),
    Tag(Box<str>),
    TagOfAny(Box<str>),
    Group(CacheKey, Box<str>),
    Everything,
}

/// What a purge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// How many keys there were. `None` if that is not known: a tag is not looked for, but what has it is no longer used.
    pub keys: Option<u64>,
}

// ===== impl Purge =====

impl Purge {
    /// All that is stored of a URL: each variant, under whatever scheme and fields and content it was asked for.
    #[must_use]
    pub fn url(key: CacheKey) -> Self {
        Self::of(What::Url(key))
    }

    /// All URLs of a host that begin like this one. Looks at every key that there is.
    #[must_use]
    pub fn prefix(key: CacheKey) -> Self {
        Self::of(What::Prefix(key))
    }

    /// All that has a tag, by `Surrogate-Key` or `Cache-Tag`, whatever its host. A tag is one of its partition.
    #[must_use]
    pub fn tag(tag: impl Into<Box<str>>) -> Self {
        Self::of(What::Tag(tag.into()))
    }

    /// The same in every partition, and what is in none.
    #[must_use]
    pub fn tag_everywhere(tag: impl Into<Box<str>>) -> Self {
        Self::of(What::TagOfAny(tag.into()))
    }

    /// All that is in a group, by `Cache-Groups` (RFC 9875), of the origin of this URL.
    #[must_use]
    pub fn group(origin: CacheKey, group: impl Into<Box<str>>) -> Self {
        Self::of(What::Group(origin, group.into()))
    }

    /// All that there is. Looks at every key.
    #[must_use]
    pub fn everything() -> Self {
        Self::of(What::Everything)
    }

    /// What is in this partition, and nothing else.
    #[must_use]
    pub fn partition(self, partition: Key) -> Self {
        let what = match self.what {
            What::Url(key) => What::Url(key.partition(partition)),
            What::Prefix(key) => What::Prefix(key.partition(partition)),
            What::Group(key, group) => What::Group(key.partition(partition), group),
            What::TagOfAny(tag) => What::Tag(tag),
            what @ (What::Tag(_) | What::Everything) => what,
        };
        Self { what, partition: Some(partition), ..self }
    }

    /// It becomes stale, and is not deleted: it is validated before it is used again, and may be used stale where stale
    /// responses may.
    #[must_use]
    pub fn softly(self) -> Self {
        Self { is_soft: true, ..self }
    }

    fn of(what: What) -> Self {
        Self { what, partition: None, is_soft: false }
    }
}

// ===== impl ResponseCache =====

impl ResponseCache {
    /// Takes something back: when this returns, it is not used any more.
    #[allow(clippy::must_use_candidate, reason = "what it came to is news, and no more")]
    pub fn purge(&self, purge: &Purge) -> Purged {
        let (shared, is_soft) = (&*self.shared, purge.is_soft);
        let generations = &shared.generations;
        let nobody = CacheKey::nobody();
        let partition = purge.partition.as_ref().map_or(&nobody[..], Key::as_bytes);
        match &purge.what {
            What::Url(_) => {}
            _ => self.mark_behind(),
        }
        let keys = match &purge.what {
            What::Url(key) => self.purge_url(key, is_soft),
            What::Prefix(key) => Some(shared.purge_prefix(key.resource(), is_soft)),
            What::Everything if purge.partition.is_some() => {
                Some(shared.purge_prefix(key::Resource { partition, target: b"" }, is_soft))
            }
            What::Everything => Some(shared.purge_all(is_soft)),
            What::Tag(tag) => {
                generations.purge(Label::Tag { partition, tag: tag.as_bytes() }, is_soft);
                None
            }
            What::TagOfAny(tag) => {
                let tag = tag.as_bytes();
                generations.purge(Label::Tag { partition: &nobody, tag }, is_soft);
                generations.purge(Label::TagOfAny { tag }, is_soft);
                None
            }
            What::Group(key, group) => {
                for key in key.of_every_scheme() {
                    generations.purge(Label::Group { origin: key.origin(), group: group.as_bytes() }, is_soft);
                }
                None
            }
        };
        Purged { keys }
    }

    /// What a request that changed something has made invalid (RFC 9111 §4.4).
    pub(super) fn invalidate(&self, key: &CacheKey) {
        self.purge_url(key, false);
    }

    /// The groups that such a request has made invalid, all of its own origin (RFC 9875 §3).
    pub(super) fn invalidate_groups(&self, key: &CacheKey, response: &HeaderMap) {
        for group in tags::groups(response, &tags::CACHE_GROUP_INVALIDATION) {
            self.shared.generations.purge(Label::Group { origin: key.origin(), group: group.as_bytes() }, false);
            self.mark_behind();
        }
    }

    fn purge_url(&self, key: &CacheKey, is_soft: bool) -> Option<u64> {
        let keys = self.shared.purge_url(key, is_soft);
        self.remove_behind(key.of_every_scheme());
        keys
    }
}

// ===== impl Generations =====

impl Generations {
    fn purge(&self, label: Label<'_>, is_soft: bool) {
        self.purge_slot(Self::slot_of(&label), is_soft);
    }
}

// ===== impl Shared =====

/// What is deleted is counted twice, before and after it is taken out: who finds it in between has the first number, and
/// learns from the second that it is gone.
impl Shared {
    fn purge_all(&self, is_soft: bool) -> u64 {
        self.generations.purge_all();
        let keys = self.sweep(|_| true, is_soft);
        if !is_soft {
            self.generations.purge_all();
        }
        keys
    }

    /// Keys with more in them than the URL are not looked for: its purges count as those of a tag that they have.
    fn purge_url(&self, key: &CacheKey, is_soft: bool) -> Option<u64> {
        self.generations.purge(Label::Url(key.resource()), is_soft);
        let keys = match self.urls.have(key) {
            true => key.of_every_scheme().filter(|key| self.take_back(key.as_bytes(), is_soft)).count(),
            false => return (!self.has_extended()).then_some(0),
        };
        if !is_soft {
            self.generations.purge(Label::Url(key.resource()), is_soft);
        }
        (!self.has_extended()).then_some(keys as u64)
    }

    fn purge_prefix(&self, prefix: key::Resource<'_>, is_soft: bool) -> u64 {
        let purge = self.generations.purge_prefix(prefix);
        let matches = |key: &[u8]| {
            let key = key::Resource::of(key);
            key.partition == prefix.partition && key.target.starts_with(prefix.target)
        };
        let keys = self.sweep(matches, is_soft);
        if !is_soft {
            self.generations.renew_prefix(purge);
        }
        keys
    }

    /// Takes back all that is there and all that is being put, but not what is refused from now on.
    fn sweep(&self, matches: impl Fn(&[u8]) -> bool, is_soft: bool) -> u64 {
        self.wait_for_writers();
        let keys = self.keys().filter(|key| matches(key) && self.take_back(key, is_soft)).count() as u64;
        self.front.all_changed();
        keys
    }

    /// Whether there was something.
    fn take_back(&self, key: &[u8], is_soft: bool) -> bool {
        let _one = self.lock(key);
        if !is_soft {
            return self.remove(key);
        }
        let now = Instant::now();
        self.replace(key, |resource| Resource {
            entries: resource.entries.iter().map(|entry| Arc::new(gone_stale(entry, now))).collect(),
        })
    }
}

/// The same entry, fresh until now at most.
fn gone_stale(entry: &Entry, now: Instant) -> Entry {
    Entry { terms: entry.terms.stale_since(now), ..entry.copy_with(entry.content.clone()) }
}

#[cfg(test)]
mod tests;
