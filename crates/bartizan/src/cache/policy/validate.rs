//! Asking the origin whether what is stored still holds (RFC 9111 §4.3.1).

use super::{
    condition::{date, only},
    etag::EntityTag,
};
use http::{HeaderMap, HeaderValue, header};

/// How much of a request the entity tags of what is stored may take.
const TAGS: usize = 4 * 1024;

/// Takes the conditions that a client asks under away, so that the answer is whole and can be stored.
pub(in crate::cache) fn take_conditions(request: &mut HeaderMap) {
    request.remove(header::IF_NONE_MATCH);
    request.remove(header::IF_MODIFIED_SINCE);
}

/// Takes away all that is about the answer to one client alone: his conditions, what makes it a part, and what he says to
/// caches (RFC 9111 §5.2.1), which is about his request and not about one that a cache makes of its own accord.
pub(in crate::cache) fn take_wishes(request: &mut HeaderMap) {
    take_conditions(request);
    for name in [header::RANGE, header::IF_RANGE, header::CACHE_CONTROL, header::PRAGMA] {
        request.remove(name);
    }
}

/// What the origin was asked about, which is all that a 304 can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum AskedAbout {
    Nothing,
    /// That which the request selects, and no other.
    Selected,
    /// That, and others.
    All,
    /// Only others.
    Others,
}

/// Asks for an answer only if what is stored does not hold any longer. Says what it could ask about: without a validator
/// nothing is added. The conditions of the client must have been taken.
///
/// `others` are those that the request does not select. They are asked about only by a strong tag, which names one
/// representation: the origin compares a date, or a tag that several may have, with what *this* client would get
/// (RFC 9110 §8.8.1). The request says only so much.
pub(in crate::cache) fn add_validators<'a>(
    request: &mut HeaderMap,
    selected: Option<&HeaderMap>,
    others: impl IntoIterator<Item = &'a HeaderMap>,
) -> AskedAbout {
    let own = selected.and_then(EntityTag::of).map(|tag| tag.written()).filter(|tag| tag.len() <= TAGS);
    // RFC 9111 §4.3.1: `Last-Modified` should be sent if one response is validated. It goes back as it came, for some
    // origins compare its characters. `Date` is not sent in its place: the origin never said that it means this.
    let modified = selected
        .and_then(|head| date(head, &header::LAST_MODIFIED).and_then(|_| only(head, &header::LAST_MODIFIED)).cloned());
    // RFC 9110 §13.1.3: beside tags a date counts for nothing, so that what has nothing else is asked about alone.
    let others = others.into_iter().filter(|_| own.is_some() || modified.is_none()).filter_map(EntityTag::strong);
    let mut tags = own.unwrap_or_default().to_vec();
    for tag in others.map(|tag| tag.written()) {
        if tags.len() + tag.len() > TAGS {
            break;
        }
        // RFC 9111 §4.3.1: the entity tags of all that is validated must be sent.
        if !has(&tags, tag) {
            if !tags.is_empty() {
                tags.extend_from_slice(b", ");
            }
            tags.extend_from_slice(tag);
        }
    }
    let has_others = tags.len() > own.map_or(0, <[u8]>::len);
    let about = match (own.is_some() || modified.is_some(), has_others) {
        (true, false) => AskedAbout::Selected,
        (true, true) => AskedAbout::All,
        (false, true) => AskedAbout::Others,
        (false, false) => AskedAbout::Nothing,
    };
    if let Some(tags) = HeaderValue::from_bytes(&tags).ok().filter(|tags| !tags.is_empty()) {
        request.insert(header::IF_NONE_MATCH, tags);
    }
    if let Some(modified) = modified.filter(|_| !has_others) {
        request.insert(header::IF_MODIFIED_SINCE, modified);
    }
    about
}

/// Whether a list of valid tags has this one. A tag holds no quote, so it cannot be a piece of another.
fn has(tags: &[u8], tag: &[u8]) -> bool {
    tags.windows(tag.len()).enumerate().any(|(at, piece)| piece == tag && (at == 0 || tags[at - 1] == b' '))
}

#[cfg(test)]
mod tests;
