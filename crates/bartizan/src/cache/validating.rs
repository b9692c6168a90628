//! What the origin says of what is stored.

use super::{
    answer::Told,
    body::CacheBody,
    entry::Entry,
    event::Outcome,
    flight::Landing,
    head::stored_head,
    lead::Asked,
    policy::{self, Arrival, AskedAbout, EntityTag, Kept, NotStored, Selecting, Stored},
    rules::Stale,
};
use crate::shared::{NoAnswer, Problem};
use http::{HeaderMap, HeaderName, Response, StatusCode, header};
use smallvec::SmallVec;
use std::sync::Arc;
use tokio::time::Instant;

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

/// Some of what is stored.
type Entries<'a> = SmallVec<[&'a Arc<Entry>; 4]>;

impl Asked {
    /// Asks the origin only for what does not hold any longer; says what that is about.
    pub(super) fn ask_whether_it_holds(&self, stale: &Stale, headers: &mut HeaderMap) -> AskedAbout {
        let (own, others) = self.part(stale);
        let mut own = own.into_iter();
        let selected = own.next().map(|entry| &entry.headers);
        let others = own.chain(others).take_while(|_| !self.asks_less()).map(|entry| &entry.headers);
        policy::add_validators(headers, selected, others)
    }

    /// What the request could be answered with, that which it selects first; and the rest. What it would only like as well
    /// belongs to that: to the origin it is another's answer.
    fn part<'a>(&self, stale: &'a Stale) -> (Entries<'a>, Entries<'a>) {
        let is_selected = |entry: &&Arc<Entry>| stale.selected.as_ref().is_some_and(|one| Arc::ptr_eq(one, entry));
        let others = stale.resource.entries.iter().filter(|entry| !is_selected(entry));
        stale.selected.iter().chain(others).partition(|entry| entry.matches(&self.headers, &self.rules.policy))
    }

    /// RFC 9111 §4.3.4: the origin says that what is stored still holds.
    pub(super) fn validated<R>(
        mut self: Box<Self>,
        response: Response<R>,
        arrival: &Arrival,
    ) -> Response<CacheBody<R>> {
        let Some(stale) = self.stale.take() else { return self.pass(response, None) };
        let fresh = self.freshened(&stale, response.headers(), arrival);
        let leaves_tag_away =
            |entry: &Arc<Entry>| EntityTag::of(&entry.headers).is_some() && EntityTag::of(response.headers()).is_none();
        let selected = self.part(&stale).0.first().map(|entry| Arc::clone(entry));
        if fresh.is_empty() || selected.as_ref().is_some_and(leaves_tag_away) {
            self.ask_less(arrival.received);
        }
        let Some(Fresh { now: entry, becomes, .. }) = fresh.first() else {
            return self.says_nothing(selected.as_deref());
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
            Becomes::Fresh => {
                fresh.was.selecting != fresh.now.selecting && fresh.was.matches(&self.headers, &self.rules.policy)
            }
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
            Some(answer) => with_cookies(answer, response.headers()),
            None => self.says_nothing(None),
        }
    }

    /// The origin says that something still holds, and nobody knows what: nothing is freshened by that (RFC 9111 §4.3.4). Of
    /// what the request selects it still says that it has not changed, if it was asked about that. Whatever else was asked
    /// about is another's answer.
    fn says_nothing<R>(mut self, selected: Option<&Entry>) -> Response<CacheBody<R>> {
        self.flight.land(Landing::Unstorable);
        let told = Told { fwd_status: Some(StatusCode::NOT_MODIFIED), ..Told::default() };
        let selected = selected.filter(|_| matches!(self.about, AskedAbout::Selected | AskedAbout::All));
        let answer = selected.and_then(|entry| self.answer(entry, Outcome::Revalidated(self.forward), told));
        answer.unwrap_or_else(|| self.no_answer("the origin says that something has not changed, and not what"))
    }

    /// An origin that says less of a condition than it has to is asked less for a while: neither about what the request does
    /// not select, nor for the rest of what is stored in parts.
    pub(super) fn ask_less(&self, now: Instant) {
        self.rules.cache.marks().set(self.key.origin(), now);
    }

    pub(super) fn asks_less(&self) -> bool {
        self.rules.cache.marks().has(self.key.origin(), Instant::now())
    }

    /// 502: the origin's answer is none that could be made one for the client.
    pub(super) fn no_answer<R>(&self, detail: &'static str) -> Response<CacheBody<R>> {
        let problem = Problem::new(StatusCode::BAD_GATEWAY).detail(detail).member("code", "protocol");
        let mut response = problem.to_response(&self.headers);
        response.extensions_mut().insert(NoAnswer);
        self.rules.tell_of(&mut response, Outcome::Forwarded(self.forward), Some("unknown-validator"));
        response.map(CacheBody::stored)
    }

    /// What is stored, with what a 304 says of it; that which the request selects first.
    fn freshened(&self, stale: &Stale, from_304: &HeaderMap, arrival: &Arrival) -> Vec<Fresh> {
        // RFC 9111 §4.3.4: what the request could have been answered with; and only if it is none of that, another that was
        // asked about.
        let (own, others) = self.part(stale);
        let selected = own.first().map(|entry| Arc::clone(entry));
        let told = |entries: &[&Arc<Entry>], places: SmallVec<[usize; 4]>| -> Vec<Arc<Entry>> {
            places.into_iter().filter_map(|at| entries.get(at).map(|entry| Arc::clone(entry))).collect()
        };
        let is_alone = self.about == AskedAbout::Selected;
        let mut entries = told(&own, policy::validated(as_stored(&own), from_304, is_alone));
        if entries.is_empty() {
            entries = told(&others, policy::named(as_stored(&others), from_304));
        }
        let is_told = !entries.is_empty();
        if !is_told {
            // What compresses an answer weakens its tag, and lets that of a 304 be. RFC 9111 §4.3.4: nothing is updated by
            // it; but the condition was this one's, and it is the answer.
            entries.extend(selected.filter(|entry| has_a_tag_like(&entry.headers, from_304)));
        }
        entries.into_iter().filter_map(|was| self.fresh(was, is_told, from_304, arrival)).collect()
    }

    /// An entry with what a 304 says of it, if it is told by it.
    fn fresh(&self, was: Arc<Entry>, is_told: bool, from_304: &HeaderMap, arrival: &Arrival) -> Option<Fresh> {
        let update = |omit: &[HeaderName]| policy::freshen(&was.headers, from_304, omit);
        let (headers, kept) = self.updated(was.status, update, arrival);
        let tags = was.tags.updated(from_304, &self.key);
        let kept = kept.and_then(|kept| if tags.is_some() { Ok(kept) } else { Err(NotStored::Tags) });
        let omit = kept.as_ref().map(|kept| kept.omit.clone()).unwrap_or_default();
        let mut now = was.copy_with(was.content.clone());
        now.headers = stored_head(&headers, &omit, arrival.wall)?;
        now.tags = tags.unwrap_or(now.tags);
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
        Some(Fresh { was, now: Arc::new(now), becomes })
    }

    /// The head of what is stored with what came of it anew, and whether it may be stored as that. A cookie that came along is
    /// for the one who asked, unless others may have it: it says nothing against the rest.
    pub(super) fn updated(
        &self,
        status: StatusCode,
        update: impl Fn(&[HeaderName]) -> HeaderMap,
        arrival: &Arrival,
    ) -> (HeaderMap, Result<Kept, NotStored>) {
        let read = |omit: &[HeaderName]| {
            let headers = update(omit);
            let kept = self.kept(status, &headers, arrival);
            (headers, kept)
        };
        match read(&[]) {
            (_, Err(NotStored::SetCookie)) => read(&[header::SET_COOKIE]),
            read => read,
        }
    }
}

/// The answer to the one who asked, with the cookies that the origin has sent him.
pub(super) fn with_cookies<R>(mut answer: Response<R>, came: &HeaderMap) -> Response<R> {
    if came.contains_key(header::SET_COOKIE) {
        answer.headers_mut().remove(header::SET_COOKIE);
        let cookies = came.get_all(header::SET_COOKIE).iter().map(|line| (header::SET_COOKIE, line.clone()));
        answer.headers_mut().extend(cookies);
    }
    answer
}

fn as_stored<'a>(entries: &'a [&Arc<Entry>]) -> impl Iterator<Item = Stored<'a>> + Clone {
    entries.iter().map(|entry| entry.as_stored())
}

/// Whether both have the same entity tag, weak or strong.
fn has_a_tag_like(one: &HeaderMap, other: &HeaderMap) -> bool {
    let tags = EntityTag::of(one).zip(EntityTag::of(other));
    tags.is_some_and(|(one, other)| one.matches_weakly(&other))
}
