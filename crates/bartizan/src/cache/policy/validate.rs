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

/// Asks for an answer only if what is stored does not hold any longer. Says whether it could: without a validator nothing
/// is added. The conditions of the client must have been taken.
///
/// That which the request selects comes first in `stored`; the request says only so much.
pub(in crate::cache) fn add_validators<'a>(
    request: &mut HeaderMap,
    stored: impl IntoIterator<Item = &'a HeaderMap>,
) -> bool {
    let mut tags = Vec::new();
    let mut first = None;
    let mut single = true;
    for head in stored {
        single = first.is_none();
        first = first.or(Some(head));
        // RFC 9111 §4.3.1: the entity tags of all that is validated must be sent.
        let Some(tag) = EntityTag::of(head).map(|tag| tag.written()) else { continue };
        if tags.len() + tag.len() > TAGS {
            break;
        }
        if !has(&tags, tag) {
            if !tags.is_empty() {
                tags.extend_from_slice(b", ");
            }
            tags.extend_from_slice(tag);
        }
    }
    // RFC 9111 §4.3.1: `Last-Modified` should be sent if one response is validated. It goes back as it came, for some
    // origins compare its characters. `Date` is not sent in its place: the origin never said that it means this.
    let modified = first
        .filter(|_| single)
        .and_then(|head| date(head, &header::LAST_MODIFIED).and_then(|_| only(head, &header::LAST_MODIFIED)).cloned());
    let tags = HeaderValue::from_bytes(&tags).ok().filter(|tags| !tags.is_empty());
    let could = tags.is_some() || modified.is_some();
    if let Some(tags) = tags {
        request.insert(header::IF_NONE_MATCH, tags);
    }
    if let Some(modified) = modified {
        request.insert(header::IF_MODIFIED_SINCE, modified);
    }
    could
}

/// Whether a list of valid tags has this one. A tag holds no quote, so it cannot be a piece of another.
fn has(tags: &[u8], tag: &[u8]) -> bool {
    tags.windows(tag.len()).enumerate().any(|(at, piece)| piece == tag && (at == 0 || tags[at - 1] == b' '))
}

#[cfg(test)]
mod tests;
