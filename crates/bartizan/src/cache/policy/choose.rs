//! Which of the stored responses that a request selects is used (RFC 9111 §4.1).

use super::{
    Normalise, Selecting, accept,
    condition::{date, only},
};
use http::{HeaderMap, HeaderName, header};
use std::cmp::Ordering;
use tokio::time::Instant;

/// What has to be known of a stored response to choose between it and another.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Stored<'a> {
    pub(in crate::cache) selecting: &'a Selecting,
    pub(in crate::cache) headers: &'a HeaderMap,
    /// When it was asked for.
    pub(in crate::cache) asked: Instant,
}

/// The place of the stored response that answers a request, if there is one.
pub(in crate::cache) fn choose<'a>(
    stored: impl Iterator<Item = Stored<'a>> + Clone,
    request: &HeaderMap,
    normalise: Normalise,
) -> Option<usize> {
    let matching = stored.clone().enumerate().filter(|(_, one)| one.selecting.matches(request, normalise));
    matching.reduce(|best, one| if preferred(&one.1, &best.1).is_gt() { one } else { best }).map(|(at, _)| at).or_else(
        || {
            let as_good =
                stored.enumerate().filter(|(_, one)| normalise.languages && is_wanted(one, request, normalise));
            as_good.reduce(|best, one| if younger(&one.1, &best.1).is_gt() { one } else { best }).map(|(at, _)| at)
        },
    )
}

/// RFC 9111 §4.1: of those that match the most recent one, but one that has a `Vary` before one without: an origin may
/// forget it on what it sends to those who ask for nothing in particular.
fn preferred(one: &Stored<'_>, other: &Stored<'_>) -> Ordering {
    let varies = |stored: &Stored<'_>| !stored.selecting.is_anything();
    varies(one).cmp(&varies(other)).then_with(|| younger(one, other))
}

/// RFC 9111 §4.1: the most recent by `Date`; of the same second, that which was asked for last.
pub(super) fn younger(one: &Stored<'_>, other: &Stored<'_>) -> Ordering {
    by_date(one.headers, other.headers).then_with(|| one.asked.cmp(&other.asked))
}

/// Which was made earlier, if both say it.
pub(in crate::cache) fn by_date(one: &HeaderMap, other: &HeaderMap) -> Ordering {
    match (date(one, &header::DATE), date(other, &header::DATE)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => Ordering::Equal,
    }
}

/// Whether a stored response is one that the client wants most, though it was sent to one who asked in other words: all
/// matches but the language or the coding, and there it is what this client prefers to anything else.
fn is_wanted(stored: &Stored<'_>, request: &HeaderMap, normalise: Normalise) -> bool {
    const RANKED: [HeaderName; 2] = [header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING];
    // The language of a response must be known to be compared, and so must the wish of the client.
    let ranked = |asked: &HeaderName, said: &HeaderName, prefers: fn(&[u8], &[u8]) -> bool| {
        only(request, asked)
            .zip(only(stored.headers, said))
            .is_some_and(|(asked, said)| prefers(asked.as_bytes(), said.as_bytes().trim_ascii()))
    };
    !stored.selecting.is_anything()
        && stored.selecting.matches_but(&RANKED, request, normalise)
        && stored.selecting.names().filter(|name| RANKED.contains(name)).all(|name| {
            stored.selecting.matches_one(name, request, normalise)
                || if *name == header::ACCEPT_LANGUAGE {
                    ranked(name, &header::CONTENT_LANGUAGE, accept::prefers_language)
                } else {
                    ranked(name, &header::CONTENT_ENCODING, accept::prefers_coding)
                }
        })
}

#[cfg(test)]
mod tests;
