//! What a request that changes something takes away.

use super::{
    event::Event,
    key::CacheKey,
    lead::Asked,
    policy::{self, Target},
    tags::Stamped,
};
use http::{HeaderMap, StatusCode, Uri, header, uri::Scheme};

impl Asked {
    /// RFC 9111 §4.4, RFC 9875 §3.
    pub(super) fn invalidate(&mut self, status: StatusCode, headers: &HeaderMap) {
        let Some(target) = self.target() else { return };
        let urls = policy::invalidated(self.method(), &target, status, headers);
        let may_be_stored = !urls.is_empty() && self.rules.policy.stores_answer_to(self.method());
        let is_purged = may_be_stored && self.was_purged_on_its_way(headers);
        for url in &urls {
            if *url == target {
                self.rules.cache.invalidate(&self.key);
            } else if let Some(key) = self.key_at(url) {
                self.rules.cache.invalidate(&key);
            }
        }
        if !urls.is_empty() {
            self.rules.cache.invalidate_groups(&self.key, headers);
            self.rules.tell(Event::Invalidated(urls.len()));
            if !is_purged {
                // What this request itself brings is younger than that.
                self.ticket = self.rules.cache.ticket();
            }
        }
    }

    /// What was taken back while the answer was on its way may be what it brings.
    fn was_purged_on_its_way(&self, headers: &HeaderMap) -> bool {
        let allows = |tags: Stamped| self.rules.cache.allows(self.ticket, &self.key, &tags.slots);
        !Stamped::read(headers, &self.key).is_some_and(allows)
    }

    fn target(&self) -> Option<Target> {
        let uri = self.uri();
        let host = || self.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
        Some(Target {
            scheme: uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            authority: uri.authority().cloned().or_else(host)?,
            path_and_query: uri.path_and_query()?.clone(),
        })
    }

    /// The key of another URL, for the same partition.
    fn key_at(&self, url: &Target) -> Option<CacheKey> {
        let Target { scheme, authority, path_and_query } = url.clone();
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path_and_query).build().ok()?;
        self.key.elsewhere(&uri, &self.rules.keys)
    }
}
