//! A response on its way into the memory.

use super::{
    entry::{Content, Entry},
    event::Event,
    fill::{Fill, Outcome, Plan, Reader, joined},
    flight::Closer,
    generations::Ticket,
    key::CacheKey,
    lead::Asked,
    policy::{self, Parts},
    rules::Rules,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use std::{error::Error, sync::Arc};
use tokio::time::Instant;

/// What is known of a response while its body comes.
pub(super) struct Storing {
    rules: Arc<Rules>,
    key: CacheKey,
    ticket: Ticket,
    entry: Entry,
    /// The head as it came, which says what a part is a part of.
    head: Option<HeaderMap>,
    /// Who comes after the end finds the response in the memory.
    closer: Option<Closer<Arc<Entry>>>,
}

impl Storing {
    pub(super) fn new(asked: &Asked, head: &HeaderMap, entry: Entry, closer: Option<Closer<Arc<Entry>>>) -> Self {
        Self {
            rules: Arc::clone(&asked.rules),
            key: asked.key.clone(),
            ticket: asked.ticket,
            head: (entry.status == StatusCode::PARTIAL_CONTENT).then(|| head.clone()),
            entry,
            closer,
        }
    }

    /// Begins to read the body; the entry can be read along.
    pub(super) fn start<R>(self, body: R, expected: Option<u64>) -> (Arc<Entry>, Reader)
    where
        R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let plan = Plan {
            expected,
            limit: self.rules.cache.largest(),
            abandoned: self.rules.abandoned,
            spawn: Arc::clone(&self.rules.spawn),
        };
        let entry = self.entry.copy_with(Content::Head);
        let (fill, reader) = Fill::start(body, plan, move |outcome| self.end(outcome));
        (Arc::new(Entry { content: Content::Filling(fill), ..entry }), reader)
    }

    fn end(self, outcome: Outcome) {
        let rules = Arc::clone(&self.rules);
        match outcome {
            Outcome::Whole { bytes, trailers } => {
                let length = bytes.len() as u64;
                let stored = match &self.head {
                    Some(head) => self.keep_part(head, bytes),
                    None => {
                        let content = Content::Whole(bytes);
                        let omit = [header::AGE, header::SET_COOKIE];
                        let trailers =
                            trailers.map(|trailers| policy::kept_trailers(&self.entry.headers, &trailers, &omit));
                        let entry = Entry { trailers, ..self.entry.copy_with(content) };
                        rules.cache.keep(&self.key, entry, self.ticket)
                    }
                };
                rules.tell(if stored { Event::Stored(length) } else { Event::Declined("purged") });
            }
            Outcome::TooLarge => {
                rules.cache.marks().set(self.key.as_bytes(), Instant::now());
                rules.tell(Event::Declined("too-large"));
            }
            Outcome::Broken { so_far } => {
                let stored = self.rules.policy.stores_parts() && self.keep_beginning(&so_far);
                if !stored {
                    rules.tell(Event::Declined("broken-off"));
                }
            }
        }
        drop(self.closer);
    }

    /// RFC 9111 §3.4: puts a part to those that are there.
    fn keep_part(&self, head: &HeaderMap, bytes: Bytes) -> bool {
        Parts::of(head, bytes).is_some_and(|part| self.keep_parts(head, &part))
    }

    /// RFC 9111 §3.3: what broke off is a part, if it is known of what.
    fn keep_beginning(&self, so_far: &[Bytes]) -> bool {
        let is_whole = self.head.is_none() && self.entry.status == StatusCode::OK && !so_far.is_empty();
        is_whole
            && Parts::broken_off(&self.entry.headers, joined(so_far))
                .is_some_and(|part| self.keep_parts(&self.entry.headers, &part))
    }

    fn keep_parts(&self, head: &HeaderMap, part: &Parts) -> bool {
        let stored = self.rules.cache.get(&self.key, Instant::now());
        let before =
            stored.iter().flat_map(|resource| &resource.entries).find(|entry| entry.selecting == self.entry.selecting);
        let (parts, headers) = match before.map(|entry| (&entry.content, &entry.headers)) {
            // The whole is worth more than a part of it.
            Some((Content::Whole(_), headers))
                if policy::EntityTag::strong(headers) == policy::EntityTag::strong(head) =>
            {
                return false;
            }
            Some((Content::Parts(others), headers)) => match others.and(headers, part, head) {
                Some(both) => (both, policy::combined(headers, &self.entry.headers, &[])),
                None => (part.clone(), self.entry.headers.clone()),
            },
            _ => (part.clone(), self.entry.headers.clone()),
        };
        let content = parts.whole().map_or(Content::Parts(parts), Content::Whole);
        let headers = policy::without_range(headers);
        let entry = Entry { status: StatusCode::OK, headers, ..self.entry.copy_with(content) };
        self.rules.cache.keep(&self.key, entry, self.ticket)
    }
}
