//! The heads that are stored, and those that are passed on.

use super::{policy, tags::TAKEN_OUT};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::SystemTime;

/// Where `Cache-Status` is written for each answer.
pub(super) const PLACE: HeaderValue = HeaderValue::from_static("");

/// The head of a response as it is stored: without what is for one connection, without the tags, and without the fields in
/// `omit`; with a place for what is another one for each answer. `None` if it cannot be stored rightly.
pub(super) fn stored_head(head: &HeaderMap, omit: &[HeaderName], received: SystemTime) -> Option<HeaderMap> {
    let omit: Vec<HeaderName> = omit.iter().cloned().chain(TAKEN_OUT.iter().cloned()).chain([header::AGE]).collect();
    let mut stored = policy::kept(head, &omit)?;
    policy::date_if_missing(&mut stored, received);
    stored.insert(header::AGE, HeaderValue::from_static("0"));
    // The place comes last, and nobody else's line is taken for it.
    let others: Vec<_> = stored.get_all(header::CACHE_STATUS).iter().filter(|line| !line.is_empty()).cloned().collect();
    stored.remove(header::CACHE_STATUS);
    for line in others.into_iter().chain([PLACE]) {
        stored.append(header::CACHE_STATUS, line);
    }
    Some(stored)
}

/// Takes what is for this cache alone from a response that is passed on.
pub(super) fn take_out(head: &mut HeaderMap) {
    // Few heads have one, and to look at all names takes less than to look for two.
    if head.keys().any(|name| TAKEN_OUT.contains(name)) {
        for name in &TAKEN_OUT {
            head.remove(name);
        }
    }
}
