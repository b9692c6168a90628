//! A response from what is stored.

use super::{
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry},
    event::{Event, Outcome},
    policy::{self, Failure, RangeAsk, Resolved},
    ready::{Answer, same_until},
    rules::Rules,
    status::Status,
};
use crate::shared::{Flag, Notes, wall_now};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// What else `Cache-Status` tells of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) fwd_status: Option<StatusCode>,
    pub(super) stored: bool,
    pub(super) collapsed: bool,
    pub(super) detail: Option<&'static str>,
}

// ===== impl Told =====

impl Told {
    /// Why the origin gave no answer. What it has not sent is no status of its.
    pub(super) fn of(why: Failure) -> Self {
        let detail = match why {
            Failure::Status(status) => return Self { fwd_status: Some(status), ..Self::default() },
            Failure::Unreachable => "no-answer",
            Failure::Open => "breaker-open",
            Failure::TimedOut => "timeout",
        };
        Self { detail: Some(detail), ..Self::default() }
    }
}

/// A fresh stored response as the answer to a request; with the head that was sent last, if it is the same.
#[inline]
pub(super) fn hit<R>(
    rules: &Rules,
    entry: &Arc<Entry>,
    ask: Ask,
    headers: &HeaderMap,
    now: Instant,
) -> Option<Response<CacheBody<R>>> {
    let full = || answer(rules, entry, ask, headers, now, Outcome::Hit, Told::default());
    let Some(usual) = entry.usual(rules.name.as_ref(), ask, headers) else { return full() };
    let ready = rules.cache.ready();
    if let Some(head) = ready.get(usual, now) {
        let response = Response::from_parts(head, entry.usual_body(usual));
        rules.count(Outcome::Hit);
        rules.tell(Event::Answered(Outcome::Hit, response.status()));
        return Some(response);
    }
    let response = full()?;
    if usual.condition.is_some() == (response.status() == StatusCode::NOT_MODIFIED) {
        let until = same_until(now, entry.terms.age(now), entry.terms.lifetime);
        ready.made(usual, &response, now, until);
    }
    Some(response)
}

/// A stored response as the answer to a request.
#[inline]
pub(super) fn answer<R>(
    rules: &Rules,
    entry: &Entry,
    ask: Ask,
    headers: &HeaderMap,
    now: Instant,
    outcome: Outcome,
    told: Told,
) -> Option<Response<CacheBody<R>>> {
    let mut response = entry.respond(ask, headers)?;
    let age = entry.terms.age(now);
    let lifetime = match outcome.is_stale().then(|| rules.terms(entry)).flatten() {
        // Taken back softly, it is stale before its time.
        Some(terms) => terms.lifetime,
        None => entry.terms.lifetime,
    };
    let status = Status {
        outcome,
        ttl: Some(ttl(lifetime, age)),
        stored: told.stored,
        collapsed: told.collapsed,
        fwd_status: told.fwd_status.map(|status| status.as_u16()),
        detail: told.detail,
    };
    status.fill_in(response.headers_mut(), rules.name.as_deref(), age.as_secs());
    rules.count(outcome);
    rules.tell(Event::Answered(outcome, response.status()));
    Some(response)
}

/// The access log tells of a stale answer, if there is one.
#[cold]
pub(super) fn note_stale(notes: Option<&Notes>) {
    if let Some(notes) = notes {
        notes.flag(Flag::StaleServed);
    }
}

/// What is left of a lifetime, in whole seconds, rounded down: what has been stale for half a second is at -1, as with 0 it
/// would look fresh.
pub(super) fn ttl(lifetime: Duration, age: Duration) -> i64 {
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match lifetime.checked_sub(age) {
        Some(left) => seconds(left.as_secs()),
        None => {
            let stale_for = age.saturating_sub(lifetime);
            -seconds(stale_for.as_secs() + u64::from(stale_for.subsec_nanos() > 0))
        }
    }
}

// ===== impl Entry =====

impl Entry {
    /// What most requests ask for: the whole of it, or under the condition of one line whether there is another.
    #[inline]
    fn usual<'a>(
        self: &'a Arc<Self>,
        name: Option<&'a Arc<str>>,
        ask: Ask,
        headers: &'a HeaderMap,
    ) -> Option<Answer<'a>> {
        if ask.has(Trait::Condition) {
            if !matches!(ask.verb, Verb::Get | Verb::Head) {
                return None;
            }
            let condition = policy::only(headers, &header::IF_NONE_MATCH)?;
            return Some(Answer { entry: self, name, condition: Some(condition) });
        }
        let is_usual = ask.verb == Verb::Get
            && !ask.has(Trait::Range)
            && self.trailers.is_none()
            && matches!(self.content, Content::Whole(_));
        is_usual.then_some(Answer { entry: self, name, condition: None })
    }

    /// What belongs to the head of such an answer.
    #[inline]
    fn usual_body<R>(&self, answer: Answer<'_>) -> CacheBody<R> {
        match &self.content {
            Content::Whole(bytes) if answer.condition.is_none() => CacheBody::stored(bytes.clone()),
            _ => CacheBody::default(),
        }
    }

    /// RFC 9111 §4.3.2: conditions first, then ranges, as an origin would (RFC 9110 §13.2.2). Nothing, if the body was to
    /// be read along and has broken off.
    #[inline]
    fn respond<R>(&self, ask: Ask, headers: &HeaderMap) -> Option<Response<CacheBody<R>>> {
        if ask.has(Trait::Condition)
            && policy::is_not_modified(ask.method(), headers, self.status, &self.headers, wall_now)
        {
            let also = [header::AGE, header::CACHE_STATUS, header::CDN_CACHE_CONTROL];
            let head = policy::not_modified_head(&self.headers, &also);
            return Some(respond(StatusCode::NOT_MODIFIED, head, CacheBody::default()));
        }
        if ask.verb == Verb::Head {
            return Some(respond(self.status, self.head_of_whole(), CacheBody::default()));
        }
        if ask.has(Trait::Range)
            && policy::has_ranges(ask.method(), self.status)
            && policy::if_range_holds(headers, &self.headers)
            && let Some(ranges) = RangeAsk::read(headers)
            && let Some(part) = self.respond_part(&ranges)
        {
            return Some(part);
        }
        let body = match &self.content {
            Content::Whole(bytes) => CacheBody::with_trailers(bytes.clone(), self.trailers.clone()),
            Content::Filling(fill) => CacheBody::reader(fill.reader(None)?),
            Content::Parts(_) | Content::Head => return None,
        };
        Some(respond(self.status, self.headers.clone(), body))
    }

    /// RFC 9110 §9.3.2: the fields that a `GET` would get, its length among them; §8.6: what has no content says none.
    fn head_of_whole(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if self.status != StatusCode::NO_CONTENT
            && let Content::Whole(bytes) = &self.content
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        headers
    }

    /// RFC 9110 §14.2: the parts that a client asks for, or 416; nothing if the whole is the answer.
    fn respond_part<R>(&self, ranges: &RangeAsk) -> Option<Response<CacheBody<R>>> {
        let (length, resolved) = match &self.content {
            Content::Whole(bytes) => (Some(bytes.len() as u64), ranges.resolve(bytes.len() as u64)),
            Content::Filling(fill) => (fill.expected(), ranges.resolve(fill.expected()?)),
            Content::Parts(parts) => (parts.complete(), parts.resolve(ranges)?),
            Content::Head => return None,
        };
        match resolved {
            Resolved::Full => None,
            Resolved::Unsatisfiable => {
                let head = policy::unsatisfiable_head(&self.headers, length?);
                Some(respond(StatusCode::RANGE_NOT_SATISFIABLE, head, CacheBody::default()))
            }
            Resolved::One(range) => {
                let head = policy::partial_head(&self.headers, &range, length);
                let body = match &self.content {
                    Content::Filling(fill) => CacheBody::reader(fill.reader(Some(range))?),
                    _ => CacheBody::pieces(self.pieces(&range)?),
                };
                Some(respond(StatusCode::PARTIAL_CONTENT, head, body))
            }
            Resolved::Many(ranges) => {
                let slice = |range: &Range<u64>, pieces: &mut Vec<Bytes>| {
                    pieces.extend(self.pieces(range)?);
                    Some(())
                };
                let (head, pieces) = policy::multipart(&self.headers, &ranges, length?, &boundary(), slice)?;
                Some(respond(StatusCode::PARTIAL_CONTENT, head, CacheBody::pieces(pieces)))
            }
        }
    }

    fn pieces(&self, range: &Range<u64>) -> Option<Vec<Bytes>> {
        let mut pieces = Vec::new();
        match &self.content {
            Content::Whole(bytes) => pieces.push(policy::slice(bytes, range)?),
            Content::Parts(parts) => parts.slice(range, &mut pieces)?,
            Content::Filling(_) | Content::Head => return None,
        }
        Some(pieces)
    }
}

fn respond<R>(status: StatusCode, headers: HeaderMap, body: CacheBody<R>) -> Response<CacheBody<R>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// RFC 2046 §5.1.1: what is in no part. Nobody can foresee it.
fn boundary() -> String {
    let draw = || RandomState::new().hash_one("boundary");
    format!("{:016x}{:016x}", draw(), draw())
}
