//! Parts that are stored, and the rest (RFC 9111 §3.4, RFC 9110 §14.5).

use super::{
    answer::Told,
    ask::{Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry},
    event::{Event, Forward, Outcome},
    flight::Landing,
    head::stored_head,
    lead::Asked,
    policy::{self, NotStored, Parts},
    refused::Refused,
    rules::IDLE,
    tags::Stamped,
    validating::with_cookies,
};
use crate::shared::wall_now;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Response, StatusCode, response};
use http_body::Body;
use std::{future::poll_fn, pin::pin, sync::Arc};
use tokio::time::{Instant, timeout};

impl Asked {
    /// Asks only for what is missing of the whole, on condition that it is a part of the same. Gives what is there, if it could.
    pub(super) fn ask_for_the_rest(&self, headers: &mut HeaderMap) -> Option<(Arc<Entry>, Parts)> {
        let is_whole = self.ask.verb == Verb::Get && !self.ask.has(Trait::Range);
        if self.forward != Forward::Partial || !is_whole || self.asks_less() {
            return None;
        }
        self.parts().filter(|(entry, parts)| {
            // The client waits until it is there, so that it should be the smaller half.
            parts.complete().is_some_and(|complete| {
                complete <= self.rules.cache.largest()
                    && parts.missing_of_whole().is_some_and(|missing| missing <= complete / 2)
            }) && parts.ask_for_missing(&entry.headers, None, headers)
        })
    }

    /// Waits for the rest, and answers with the whole.
    pub(super) async fn complete<R: Body>(mut self, response: Response<R>) -> Response<CacheBody<R>> {
        let (head, body) = response.into_parts();
        let rest = read(body, self.rules.cache.largest()).await;
        let has_come = rest.is_some();
        let whole = rest.and_then(|rest| self.whole(&head, rest));
        let (whole, stored) = whole.map_or((None, Ok(())), |(whole, stored)| (Some(whole), stored));
        if whole.is_none() {
            // Whoever asks next asks for all of it.
            let is_part = |entry: &Arc<Entry>| matches!(entry.content, Content::Parts(_));
            self.rules.cache.retain(&self.key, self.ticket, |entry| !is_part(entry));
            if has_come {
                // It has not heeded `If-Range`, and would not the next time.
                self.ask_less(Instant::now());
            }
        }
        self.flight.land(if whole.is_some() { Landing::Stored } else { Landing::Unstorable });
        let told = Told {
            fwd_status: Some(StatusCode::PARTIAL_CONTENT),
            stored: stored.is_ok(),
            detail: stored.err(),
            ..Told::default()
        };
        if let (Some(_), Err(why)) = (&whole, stored) {
            self.rules.tell(Event::Declined(why));
        }
        let answer = whole.and_then(|whole| self.answer(&whole, Outcome::Forwarded(self.forward), told));
        match answer {
            Some(answer) => with_cookies(answer, &head.headers),
            None => self.no_answer("the service behind sent a part that does not fit to the others"),
        }
    }

    /// What is stored and the rest together. It is stored if it may be; in any case it is the answer to this request, as the
    /// origin has just said that what is stored is a part of the same.
    fn whole(&self, head: &response::Parts, rest: Bytes) -> Option<(Entry, Result<(), &'static str>)> {
        let (entry, parts) = self.completes.as_ref()?;
        let whole = parts.and(&entry.headers, &Parts::of(&head.headers, rest)?, &head.headers)?.whole()?;
        let update = |omit: &[HeaderName]| policy::without_range(policy::combined(&entry.headers, &head.headers, omit));
        let arrival = self.arrival(wall_now());
        let (headers, kept) = self.updated(StatusCode::OK, update, &arrival);
        let omit = kept.as_ref().map(|kept| kept.omit.to_vec()).unwrap_or_default();
        let mut now = entry.copy_with(Content::Whole(whole));
        now.status = StatusCode::OK;
        now.headers = stored_head(&headers, &omit, arrival.wall)?;
        now.tags.asked = self.ticket.purges;
        let tags = Stamped::read(&head.headers, &self.key).and_then(|tags| entry.tags.and(&tags, &self.key));
        let stored = match kept.and_then(|kept| Ok((kept, tags.ok_or(NotStored::Tags)?))) {
            Ok((kept, slots)) => {
                (now.terms, now.tags.slots) = (kept.terms, slots);
                let stored = self.rules.cache.keep(&self.key, now.copy_with(now.content.clone()), self.ticket);
                stored.map_err(Refused::as_str)
            }
            Err(why) => {
                now.terms = policy::Terms::read(&self.rules.policy, now.status, &headers, &arrival);
                Err(why.as_str())
            }
        };
        Some((now, stored))
    }

    /// The parts that are stored for this request, and fresh.
    fn parts(&self) -> Option<(Arc<Entry>, Parts)> {
        let now = Instant::now();
        let resource = self.rules.cache.get(&self.key, now)?;
        resource.entries.iter().find_map(|entry| match &entry.content {
            Content::Parts(parts)
                if entry.matches(&self.headers, &self.rules.policy)
                    && self.rules.terms(entry).is_some_and(|terms| terms.is_fresh(now)) =>
            {
                Some((Arc::clone(entry), parts.clone()))
            }
            _ => None,
        })
    }
}

/// All of a body, if it comes to its end and is not longer than that.
async fn read<R: Body>(body: R, most: u64) -> Option<Bytes> {
    let (mut body, mut all) = (pin!(body), BytesMut::new());
    while let Some(frame) = timeout(IDLE, poll_fn(|cx| body.as_mut().poll_frame(cx))).await.ok()? {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if all.len() as u64 + data.remaining() as u64 > most {
            return None;
        }
        bytes::BufMut::put(&mut all, data);
    }
    Some(all.freeze())
}
