//! A stored response that has been validated (RFC 9111 §3.2, §4.3.4).

use super::{
    choose::{Stored, younger},
    condition::date,
    etag::EntityTag,
    fields,
};
use http::{HeaderMap, HeaderName, header};
use smallvec::{SmallVec, smallvec};

/// The places of those stored responses that a 304 is about. `stored` are all that the request could have been answered
/// with, that which it selects first; `is_alone` says whether that is the only one that the origin was asked about.
pub(in crate::cache) fn validated<'a>(
    mut stored: impl Iterator<Item = Stored<'a>> + Clone,
    from_304: &HeaderMap,
    is_alone: bool,
) -> SmallVec<[usize; 4]> {
    // RFC 9111 §4.3.4: a strong validator tells all that have it, and if none has it nothing is updated.
    if EntityTag::strong(from_304).is_some() {
        return named(stored, from_304);
    }
    // A weak one tells the most recent that has it. A date is weak as long as nobody says otherwise.
    let tag = EntityTag::of(from_304);
    let modified = date(from_304, &header::LAST_MODIFIED);
    if tag.is_some() || modified.is_some() {
        let same = |head| match tag {
            Some(tag) => EntityTag::of(head).is_some_and(|stored| stored.matches_weakly(&tag)),
            None => date(head, &header::LAST_MODIFIED) == modified,
        };
        let matching = stored.enumerate().filter(|(_, one)| same(one.headers));
        let latest = matching.reduce(|best, one| if younger(&one.1, &best.1).is_gt() { one } else { best });
        return latest.map(|(at, _)| at).into_iter().collect();
    }
    // None at all tells the only one that is stored if that has none either. If it has one the origin should have said it
    // again, but where it was asked about this one and no other it cannot mean another.
    if is_alone && stored.next().is_some() { smallvec![0] } else { SmallVec::new() }
}

/// The places of those that have the strong tag of a 304. Nothing else tells of what the request does not select: an
/// origin that says no more speaks of what this client would get.
pub(in crate::cache) fn named<'a>(
    stored: impl Iterator<Item = Stored<'a>>,
    from_304: &HeaderMap,
) -> SmallVec<[usize; 4]> {
    let Some(tag) = EntityTag::strong(from_304) else { return SmallVec::new() };
    let same = |head| EntityTag::of(head).is_some_and(|stored| stored.matches_strongly(&tag));
    stored.enumerate().filter(|(_, one)| same(one.headers)).map(|(at, _)| at).collect()
}

/// The head of a stored response after a 304: each field of the 304 stands in the place of all lines of its name, and what
/// only the 304 has is added.
///
/// `omit` are the names that are not stored, of which `Set-Cookie` is one unless the policy says otherwise.
pub(in crate::cache) fn freshen(stored: &HeaderMap, from_304: &HeaderMap, omit: &[HeaderName]) -> HeaderMap {
    let mut head = update(stored, from_304, omit, |name| {
        // RFC 9111 §3.2: what the content depends on stays. Many an origin puts the type of an error page on its 304.
        [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE, header::CONTENT_TYPE].contains(name)
    });
    // RFC 9110 §6.6.1: without a date it is of when it came. The old one would make it as old as before.
    if !from_304.contains_key(header::DATE) {
        head.remove(header::DATE);
    }
    head
}

/// The head of stored parts after another part of the same representation came (RFC 9111 §3.4): as when it is freshened,
/// but that part has content, so that what it says of it counts.
pub(in crate::cache) fn combined(stored: &HeaderMap, part: &HeaderMap, omit: &[HeaderName]) -> HeaderMap {
    update(stored, part, omit, |name| [header::CONTENT_LENGTH, header::CONTENT_RANGE].contains(name))
}

/// Whether the answer to a `HEAD` is about this stored response, which then is freshened by it; else it is stale from
/// now on (RFC 9111 §4.3.5). `length` is how long the stored content is, if it is whole.
pub(in crate::cache) fn is_same_by_head(stored: &HeaderMap, length: Option<u64>, from_head: &HeaderMap) -> bool {
    let same = |name: &HeaderName| {
        !from_head.contains_key(name) || from_head.get_all(name).iter().eq(stored.get_all(name).iter())
    };
    let said = from_head.get(header::CONTENT_LENGTH).map(|said| said.to_str().ok().and_then(|said| said.parse().ok()));
    same(&header::ETAG) && same(&header::LAST_MODIFIED) && said.is_none_or(|said: Option<u64>| said == length)
}

/// Whether the answer to a `HEAD` says anything by which one content is told from another.
pub(in crate::cache) fn tells_of_content(from_head: &HeaderMap) -> bool {
    [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH].iter().any(|name| from_head.contains_key(name))
}

fn update(stored: &HeaderMap, new: &HeaderMap, omit: &[HeaderName], stays: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    // A name for all recipients is never a connection option (RFC 9110 §7.6.1); here it is not believed.
    let named: Vec<_> = fields::named_by_connection(new).filter(|name| !fields::is_for_all(name)).collect();
    // A weak tag is no reason to forget that the content that is kept came with a strong one, nor the other way round.
    let tag_stays = EntityTag::of(stored).zip(EntityTag::of(new)).is_some_and(|(old, new)| old.matches_weakly(&new));
    let comes = |name: &HeaderName| {
        !(stays(name)
            || fields::is_for_one_hop(name)
            || named.contains(name)
            || omit.contains(name)
            || tag_stays && *name == header::ETAG)
    };
    let mut updated = HeaderMap::with_capacity(stored.keys_len() + new.keys_len());
    for name in stored.keys() {
        // The old age is the age of the old answer.
        let from = match new.contains_key(name) && comes(name) {
            true => new,
            false if *name == header::AGE => continue,
            false => stored,
        };
        for line in from.get_all(name) {
            updated.append(name, line.clone());
        }
    }
    for name in new.keys().filter(|name| !stored.contains_key(*name) && comes(name)) {
        for line in new.get_all(name) {
            updated.append(name, line.clone());
        }
    }
    updated
}

#[cfg(test)]
mod tests;
