//! What a request that changes something takes away.

use super::{
    event::Event,
    key::CacheKey,
    lead::Asked,
    policy::{self, Target},
};
use http::{HeaderMap, StatusCode, Uri, header, uri::Scheme};

impl Asked {
    /// RFC 9111 §4.4, RFC 9875 §3.
    pub(super) fn invalidate(&mut self, status: StatusCode, headers: &HeaderMap) {
        if !policy::invalidates(self.method(), status) {
            return;
        }
        self.rules.cache.invalidate(&self.key);
        let others = if policy::tells_of_others(headers) { self.invalidate_others(status, headers) } else { 0 };
        self.rules.cache.invalidate_groups(&self.key, headers);
        self.rules.tell(Event::Invalidated(1 + others));
        // What this request itself brings is younger than that.
        self.ticket = self.rules.cache.ticket();
    }

    /// How many URLs the answer tells of, beside the target.
    fn invalidate_others(&self, status: StatusCode, headers: &HeaderMap) -> usize {
        let Some(target) = self.target() else { return 0 };
        let urls = policy::invalidated(self.method(), &target, status, headers);
        let others = urls.iter().filter(|url| **url != target);
        others.inspect(|url| self.key_at(url).iter().for_each(|key| self.rules.cache.invalidate(key))).count()
    }

    fn target(&self) -> Option<Target> {
        let uri = self.uri();
        let host = || self.host.as_ref().or_else(|| self.headers.get(header::HOST))?.to_str().ok()?.parse().ok();
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
