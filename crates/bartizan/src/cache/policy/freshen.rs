//! A stored response that has been validated (RFC 9111 §3.2, §4.3.4).

use super::{condition::opaque, fields::is_for_connection};
use http::{
    HeaderMap, HeaderName,
    header::{
        AGE, CACHE_STATUS, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    },
};

/// They say how the stored bytes are to be read, so what a message without content says of them is not taken.
const OF_THE_CONTENT: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE];

/// Which of the stored responses a 304 is about (RFC 9111 §4.3.4); `selected` is the one that was asked about first.
pub(in crate::cache) fn freshened_by<'a>(
    stored: impl Iterator<Item = &'a HeaderMap> + Clone,
    selected: Option<usize>,
    from_304: &HeaderMap,
) -> Vec<usize> {
    let find = |is_meant: &dyn Fn(&HeaderMap) -> bool| {
        stored.clone().enumerate().filter(|(_, headers)| is_meant(headers)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    if let Some(tag) = from_304.get(ETAG) {
        if tag.as_bytes().starts_with(b"\"") {
            let strong = find(&|headers| headers.get(ETAG) == Some(tag));
            if !strong.is_empty() {
                return strong;
            }
        }
        // A weak one is about the youngest, which is the first.
        let weak = opaque(tag.as_bytes());
        let is_meant = |headers: &HeaderMap| {
            headers.get(ETAG).is_some_and(|own| own == tag || (weak.is_some() && opaque(own.as_bytes()) == weak))
        };
        return find(&is_meant).into_iter().take(1).collect();
    }
    if let Some(date) = from_304.get(LAST_MODIFIED) {
        let dated = find(&|headers| headers.get(LAST_MODIFIED) == Some(date));
        return dated.into_iter().take(1).collect();
    }
    // Without a validator it is about the one that was asked about; nothing else is known of it.
    match (selected, stored.clone().count()) {
        (Some(selected), _) => vec![selected],
        (None, 1) => vec![0],
        (None, _) => Vec::new(),
    }
}

/// The stored head with what a 304, or the response to a `HEAD`, says anew (RFC 9111 §3.2): every line of a field that comes
/// takes the place of all that were there.
pub(in crate::cache) fn freshen(stored: &HeaderMap, from: &HeaderMap) -> HeaderMap {
    let mut fresh = stored.clone();
    // It is that of the response which has just come, if it has any.
    fresh.remove(AGE);
    for name in from.keys() {
        let keeps = OF_THE_CONTENT.contains(name) || *name == CACHE_STATUS || is_for_connection(name, from);
        if keeps || (*name == ETAG && is_only_weaker(stored, from)) {
            continue;
        }
        fresh.remove(name);
        for value in from.get_all(name) {
            fresh.append(name.clone(), value.clone());
        }
    }
    fresh
}

/// Whether the new entity tag is the stored one made weak, which would only lose what is known.
fn is_only_weaker(stored: &HeaderMap, from: &HeaderMap) -> bool {
    let (Some(stored), Some(new)) = (stored.get(ETAG), from.get(ETAG)) else { return false };
    new.as_bytes().strip_prefix(b"W/") == Some(stored.as_bytes())
}

/// Whether the response to a `HEAD` is about the same content as what is stored (RFC 9111 §4.3.5).
pub(in crate::cache) fn head_agrees(stored: &HeaderMap, head: &HeaderMap, length: Option<u64>) -> bool {
    let told = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let length_agrees = told.is_none() || length.is_none() || told == length;
    let agrees = |name: &HeaderName| head.get(name).is_none_or(|value| stored.get(name) == Some(value));
    length_agrees && agrees(&ETAG) && agrees(&LAST_MODIFIED)
}

#[cfg(test)]
#[path = "tests/freshen.rs"]
mod tests;
