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
    refused::Refused,
    rules::Rules,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;

/// What is known of a response while its body comes.
pub(super) struct Storing {
    rules: Arc<Rules>,
    key: CacheKey,
    ticket: Ticket,
    entry: Entry,
    /// The head as it came, which says what a part is a part of.
    head: Option<HeaderMap>,
    /// What the new answer is in the place of, though other requests may select it.
    before: Option<Arc<Entry>>,
    trailers: Trailers,
    /// Who comes after the end finds the response in the memory.
    closer: Option<Closer<Arc<Entry>>>,
}

/// Which trailer fields others may have.
#[derive(Clone)]
struct Trailers {
    /// The `Connection` of the head.
    head: HeaderMap,
    omit: Vec<HeaderName>,
}

pin_project! {
    /// A body without those trailer fields that are for nobody else.
    struct Trailing<B> {
        #[pin]
        body: B,
        kept: Trailers,
    }
}

// ===== impl Storing =====

impl Storing {
    pub(super) fn new(
        asked: &Asked,
        head: &HeaderMap,
        entry: Entry,
        omit: Vec<HeaderName>,
        closer: Option<Closer<Arc<Entry>>>,
    ) -> Self {
        let before = asked.stale.as_ref().and_then(|stale| stale.selected.clone());
        Self {
            rules: Arc::clone(&asked.rules),
            key: CacheKey::clone(&asked.key),
            ticket: asked.ticket,
            head: (entry.status == StatusCode::PARTIAL_CONTENT).then(|| head.clone()),
            before: before.filter(|before| before.selecting != entry.selecting),
            trailers: Trailers::of(head, omit),
            entry,
            closer,
        }
    }

    /// Why it will not be stored, as far as that is known before its body has come.
    pub(super) fn foreseen(&self) -> Option<Refused> {
        if self.rules.cache.is_purged(&self.key, &self.entry) {
            return Some(Refused::Purged);
        }
        let there = self.there()?;
        let has_content = !matches!(there.content, Content::Head);
        let is_superseded = match &self.head {
            Some(head) => there.makes_vain(head),
            None => has_content && self.entry.is_older(&there),
        };
        is_superseded.then_some(Refused::Superseded)
    }

    /// What the same requests select now.
    fn there(&self) -> Option<Arc<Entry>> {
        let stored = self.rules.cache.get(&self.key, Instant::now())?;
        let is_there =
            |entry: &&Arc<Entry>| entry.selecting == self.entry.selecting && self.rules.terms(entry).is_some();
        stored.entries.iter().find(is_there).cloned()
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
        let body = Trailing { body, kept: self.trailers.clone() };
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
                        let entry = Entry { trailers, ..self.entry.copy_with(content) };
                        let stored = rules.cache.keep(&self.key, entry, self.ticket);
                        if let Some(before) = self.before.as_ref().filter(|_| stored.is_ok()) {
                            rules.cache.retain(&self.key, self.ticket, |entry| !Arc::ptr_eq(entry, before));
                        }
                        stored
                    }
                };
                match stored {
                    Ok(()) => rules.tell(Event::Stored(length)),
                    Err(why) => self.is_refused(why),
                }
            }
            Outcome::TooLarge => self.is_refused(Refused::TooLarge),
            Outcome::Broken { so_far } => {
                let stored = self.rules.policy.stores_parts() && self.keep_beginning(&so_far);
                if !stored {
                    rules.tell(Event::Declined("broken-off"));
                }
            }
        }
        drop(self.closer);
    }

    fn is_refused(&self, why: Refused) {
        if why == Refused::TooLarge {
            // So will the next be.
            self.rules.cache.marks().set(self.key.as_bytes(), Instant::now());
        }
        self.rules.tell(Event::Declined(why.as_str()));
    }

    /// RFC 9111 §3.4: puts a part to those that are there.
    fn keep_part(&self, head: &HeaderMap, bytes: Bytes) -> Result<(), Refused> {
        self.keep_parts(head, &Parts::of(head, bytes).ok_or(Refused::Part)?)
    }

    /// RFC 9111 §3.3: what broke off is a part, if it is known of what.
    fn keep_beginning(&self, so_far: &[Bytes]) -> bool {
        let is_whole = self.head.is_none() && self.entry.status == StatusCode::OK && !so_far.is_empty();
        is_whole
            && Parts::broken_off(&self.entry.headers, joined(so_far))
                .is_some_and(|part| self.keep_parts(&self.entry.headers, &part).is_ok())
    }

    fn keep_parts(&self, head: &HeaderMap, part: &Parts) -> Result<(), Refused> {
        let before = self.there();
        if before.as_ref().is_some_and(|before| before.makes_vain(head)) {
            return Err(Refused::Superseded);
        }
        let (mut ticket, mut tags) = (self.ticket, self.entry.tags.clone());
        let both = before.as_ref().and_then(|before| match &before.content {
            Content::Parts(others) => {
                let parts = others.and(&before.headers, part, head)?;
                Some((before, parts, before.tags.and(&tags, &self.key)?))
            }
            _ => None,
        });
        let (parts, headers) = match both {
            Some((before, parts, slots)) => {
                // They are as recent as the most recent of them.
                ticket.at = before.tags.at.map_or(ticket.at, |at| at.max(ticket.at));
                tags.slots = slots;
                (parts, policy::combined(&before.headers, &self.entry.headers, &[]))
            }
            None => (part.clone(), self.entry.headers.clone()),
        };
        let content = parts.whole().map_or(Content::Parts(parts), Content::Whole);
        let headers = policy::without_range(headers);
        let entry = Entry { status: StatusCode::OK, headers, tags, ..self.entry.copy_with(content) };
        self.rules.cache.keep(&self.key, entry, ticket)
    }
}

// ===== impl Entry =====

impl Entry {
    /// Whether it is worth more than a part with this head: it is the whole of it.
    fn makes_vain(&self, head: &HeaderMap) -> bool {
        matches!(self.content, Content::Whole(_))
            && policy::EntityTag::strong(&self.headers) == policy::EntityTag::strong(head)
    }
}

// ===== impl Trailers =====

impl Trailers {
    fn of(head: &HeaderMap, mut omit: Vec<HeaderName>) -> Self {
        let lines = head.get_all(header::CONNECTION).iter();
        let head = lines.map(|line| (header::CONNECTION, line.clone())).collect();
        // RFC 9110 §6.5.1: no cookie comes after the content.
        omit.push(header::SET_COOKIE);
        Self { head, omit }
    }
}

// ===== impl Trailing =====

impl<B: Body> Body for Trailing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let came = ready!(this.body.poll_frame(cx));
        Poll::Ready(came.map(|came| {
            came.map(|frame| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(policy::kept_trailers(&this.kept.head, &trailers, &this.kept.omit)),
                Err(frame) => frame,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
