//! What the origin says of what is stored.

use super::{
    answer::Told,
    body::CacheBody,
    entry::Entry,
    event::Outcome,
    flight::Landing,
    head::stored_head,
    lead::Asked,
    policy::{self, Arrival, Kept, Selecting},
    rules::Stale,
    tags::Stamped,
};
use crate::shared::{NoAnswer, Problem};
use http::{HeaderMap, Response, StatusCode};
use smallvec::SmallVec;
use std::sync::Arc;

/// An entry that a 304 is about: as it was, as it is for the one who asked, and what becomes of it.
struct Fresh {
    was: Arc<Entry>,
    now: Arc<Entry>,
    becomes: Becomes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// It is stored as it is now.
    Fresh,
    /// This request says who it is from, so what it brought is not for others; but it says nothing against what was there.
    WhatItWas,
    /// It may not be stored any longer.
    Nothing,
}

impl Asked {
    /// RFC 9111 §4.3.4: the origin says that what is stored still holds.
    pub(super) fn validated<R>(
        mut self: Box<Self>,
        response: Response<R>,
        arrival: &Arrival,
    ) -> Response<CacheBody<R>> {
        let Some(stale) = self.stale.take() else { return self.pass(response, None) };
        let fresh = self.freshened(&stale, response.headers(), arrival);
        let is_selected = |fresh: &&Fresh| stale.selected.as_ref().is_some_and(|entry| Arc::ptr_eq(entry, &fresh.was));
        let Some(Fresh { now: entry, becomes, .. }) = fresh.iter().find(is_selected).or(fresh.first()) else {
            return self.says_nothing(stale.selected.as_deref());
        };
        for Fresh { was, now, becomes } in fresh.iter().rev() {
            if *becomes == Becomes::Fresh {
                // RFC 9111 §4.3.4: it is fresh for those, too, whom it answered before.
                if !was.matches(&self.headers, &self.rules.policy) && was.selecting.names().eq(now.selecting.names()) {
                    let selecting = was.selecting.clone();
                    let theirs = Entry { selecting, ..now.copy_with(now.content.clone()) };
                    let _ = self.rules.cache.keep(&self.key, theirs, self.ticket);
                }
                let _ = self.rules.cache.keep(&self.key, now.copy_with(now.content.clone()), self.ticket);
            }
        }
        // What other requests select now than did before takes no place by itself.
        let goes = |fresh: &Fresh| match fresh.becomes {
            Becomes::Fresh => is_selected(&fresh) && fresh.was.selecting != fresh.now.selecting,
            Becomes::Nothing => true,
            Becomes::WhatItWas => false,
        };
        if fresh.iter().any(goes) {
            self.rules.cache.retain(&self.key, self.ticket, |entry| {
                !fresh.iter().any(|fresh| goes(fresh) && Arc::ptr_eq(&fresh.was, entry))
            });
        }
        if entry.terms.is_for_many(arrival.received) {
            self.rules.cache.marks().clear(self.key.as_bytes());
        } else {
            // Who waits for this has to ask all the same.
            self.rules.cache.marks().set(self.key.as_bytes(), arrival.received);
        }
        // Those who wait have it though it may have been purged since they came; who comes now looks into the memory.
        let closer = self.flight.closer();
        self.flight.land(match becomes {
            Becomes::Fresh => Landing::Filling(Arc::clone(entry)),
            Becomes::WhatItWas | Becomes::Nothing => Landing::Unstorable,
        });
        drop(closer);
        let told = Told { fwd_status: Some(StatusCode::NOT_MODIFIED), ..Told::default() };
        match self.answer(entry, Outcome::Revalidated(self.forward), told) {
            Some(answer) => answer,
            None => self.says_nothing(None),
        }
    }

    /// The origin says that something still holds, and nobody knows what: nothing is freshened by that (RFC 9111 §4.3.4). Of
    /// what was asked about it still says that it has not changed; where that was nothing in particular, it is not asked about
    /// again.
    fn says_nothing<R>(mut self, selected: Option<&Entry>) -> Response<CacheBody<R>> {
        self.flight.land(Landing::Unstorable);
        let told = Told { fwd_status: Some(StatusCode::NOT_MODIFIED), ..Told::default() };
        let answer = selected.and_then(|entry| self.answer(entry, Outcome::Revalidated(self.forward), told));
        answer.unwrap_or_else(|| {
            self.rules.cache.retain(&self.key, self.ticket, |_| false);
            self.no_answer("the origin says that something has not changed which is not stored")
        })
    }

    /// 502: the origin's answer is none that could be made one for the client.
    pub(super) fn no_answer<R>(&self, detail: &'static str) -> Response<CacheBody<R>> {
        let problem = Problem::new(StatusCode::BAD_GATEWAY).detail(detail).member("code", "protocol");
        let mut response = problem.to_response(&self.headers);
        response.extensions_mut().insert(NoAnswer);
        self.rules.tell_of(&mut response, Outcome::Forwarded(self.forward), Some("unknown-validator"));
        response.map(CacheBody::stored)
    }

    /// What is stored, with what a 304 says of it.
    fn freshened(&self, stale: &Stale, from_304: &HeaderMap, arrival: &Arrival) -> Vec<Fresh> {
        // The one that is selected, and only if it is none of that, another that was asked about.
        let own = stale.selected.as_slice();
        let told = |entries: &[Arc<Entry>]| policy::validated(entries.iter().map(|entry| entry.as_stored()), from_304);
        let (mut entries, mut places) = (own, told(own));
        if places.is_empty() {
            entries = &stale.resource.entries;
            places = told(entries);
        }
        let is_told = !places.is_empty();
        if !is_told && own.iter().any(|entry| has_a_tag_like(&entry.headers, from_304)) {
            // What compresses an answer weakens its tag, and lets that of a 304 be. RFC 9111 §4.3.4: nothing is updated by
            // it; but the condition was this one's, and it is the answer.
            (entries, places) = (own, SmallVec::from_slice(&[0]));
        }
        let freshen = |at: usize| {
            let was = entries.get(at)?;
            let headers = policy::freshen(&was.headers, from_304, &[]);
            let kept = self.kept(was.status, &headers, arrival);
            let omit = kept.as_ref().map(|kept| kept.omit.clone()).unwrap_or_default();
            let mut now = was.copy_with(was.content.clone());
            now.headers = stored_head(&headers, &omit, arrival.wall)?;
            if let Some(tags) = Stamped::read(from_304, &self.key).filter(|tags| !tags.slots.is_empty()) {
                now.tags = tags;
            }
            now.tags.asked = self.ticket.purges;
            // RFC 9111 §4.1: the 304 may say anew what it varies by, and this request is one that it answers.
            let selecting = |kept: &Kept| Selecting::of(&kept.vary, &self.headers, self.rules.policy.normalise());
            let (terms, becomes) = match kept {
                _ if !is_told => (None, Becomes::WhatItWas),
                Ok(kept) => {
                    let selecting = selecting(&kept);
                    let becomes = if selecting.is_some() { Becomes::Fresh } else { Becomes::Nothing };
                    now.selecting = selecting.unwrap_or(now.selecting);
                    (Some(kept.terms), becomes)
                }
                Err(why) if why.is_of_request() => (None, Becomes::WhatItWas),
                Err(_) => (None, Becomes::Nothing),
            };
            let read = || policy::Terms::read(&self.rules.policy, was.status, &headers, arrival);
            now.terms = terms.unwrap_or_else(read);
            Some(Fresh { was: Arc::clone(was), now: Arc::new(now), becomes })
        };
        places.into_iter().filter_map(freshen).collect()
    }
}

/// Whether both have the same entity tag, weak or strong.
fn has_a_tag_like(one: &HeaderMap, other: &HeaderMap) -> bool {
    let tags = policy::EntityTag::of(one).zip(policy::EntityTag::of(other));
    tags.is_some_and(|(one, other)| one.matches_weakly(&other))
}
