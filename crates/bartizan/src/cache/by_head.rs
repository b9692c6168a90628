//! What the answer to a `HEAD` says of what is stored (RFC 9111 §4.3.5).

use super::{
    body::CacheBody,
    entry::{Content, Entry},
    head::stored_head,
    lead::Asked,
    policy::{self, Kept, Selecting},
};
use crate::shared::wall_now;
use http::{HeaderMap, HeaderName, Response, response};
use std::{sync::Arc, time::SystemTime};

impl Asked {
    /// A `HEAD` says of what is stored whether it still holds; where nothing is, its head is stored.
    pub(super) fn store_head<R>(
        self: Box<Self>,
        head: response::Parts,
        body: R,
        entry: Entry,
    ) -> Response<CacheBody<R>> {
        if !self.compare_head(&head) {
            let _ = self.rules.cache.keep(&self.key, entry, self.ticket);
        }
        self.pass(Response::from_parts(head, body), None)
    }

    /// Whether a body that is stored belongs to a head that has just come, so that it has been freshened by it. What could
    /// have been the answer and is denied by the head is gone.
    pub(super) fn compare_head(&self, head: &response::Parts) -> bool {
        // What says nothing of the content neither confirms nor denies it.
        if !policy::tells_of_content(&head.headers) {
            return false;
        }
        self.drop_denied(head);
        let Some(entry) = self.stale.as_ref().and_then(|stale| stale.selected.as_ref()) else { return false };
        let is_whole = matches!(entry.content, Content::Whole(_));
        if !is_whole || entry.status != head.status || !entry.has_head(&head.headers) {
            return false;
        }
        let arrival = self.arrival(wall_now());
        let update = |omit: &[HeaderName]| policy::freshen(&entry.headers, &head.headers, omit);
        let (headers, kept) = self.updated(entry.status, update, &arrival);
        match kept {
            Ok(kept) => {
                if let Some(fresh) = self.freshened_by_head(entry, &headers, &head.headers, kept, arrival.wall) {
                    if fresh.selecting != entry.selecting {
                        self.rules.cache.retain(&self.key, self.ticket, |other| !Arc::ptr_eq(other, entry));
                    }
                    return self.rules.cache.keep(&self.key, fresh, self.ticket).is_ok();
                }
            }
            // This request says who it is from; that says nothing against what is stored for all.
            Err(why) if why.is_of_request() => return false,
            Err(_) => {}
        }
        self.rules.cache.retain(&self.key, self.ticket, |other| !Arc::ptr_eq(other, entry));
        false
    }

    /// All that this request selects and that has another content than the head is about. What was asked for later than the
    /// head is not meant.
    fn drop_denied(&self, head: &response::Parts) {
        let is_denied = |entry: &Arc<Entry>| {
            entry.status == head.status
                && !matches!(entry.content, Content::Head)
                && entry.tags.at <= Some(self.ticket.at)
                && !entry.has_head(&head.headers)
                && entry.matches(&self.headers, &self.rules.policy)
        };
        self.rules.cache.retain(&self.key, self.ticket, |entry| !is_denied(entry));
    }

    /// The entry with what the answer to a `HEAD` says anew, what it varies by and its tags among that.
    fn freshened_by_head(
        &self,
        entry: &Entry,
        headers: &HeaderMap,
        head: &HeaderMap,
        kept: Kept,
        wall: SystemTime,
    ) -> Option<Entry> {
        let mut fresh = entry.copy_with(entry.content.clone());
        fresh.headers = stored_head(headers, &kept.omit, wall)?;
        fresh.selecting = Selecting::of(&kept.vary, &self.headers, self.rules.policy.normalise())?;
        fresh.tags = entry.tags.updated(head, &self.key)?;
        fresh.tags.asked = self.ticket.purges;
        fresh.terms = kept.terms;
        Some(fresh)
    }
}
