//! A response from what is stored.

use super::{
    ask::{Ask, Trait, Verb},
    body::CacheBody,
    entry::{Content, Entry},
    event::{Event, Outcome},
    policy::{self, RangeAnswer},
    rules::Rules,
    status::Status,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::sync::Arc;
use tokio::time::Instant;

/// What else `Cache-Status` tells of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) fwd_status: Option<StatusCode>,
    pub(super) stored: bool,
}

/// A stored response as the answer to a request.
///
/// RFC 9111 §4.3.2: conditions first, then ranges, as an origin would (RFC 9110 §13.2.2).
pub(super) fn answer<R>(
    rules: &Rules,
    entry: &Arc<Entry>,
    ask: Ask,
    headers: &HeaderMap,
    now: Instant,
    outcome: Outcome,
    told: Told,
) -> Response<CacheBody<R>> {
    let mut response = entry.respond(ask, headers);
    let ttl = ttl(entry, now);
    let status = Status { ttl: Some(ttl), stored: told.stored, fwd_status: told.fwd_status, ..Status::new(outcome) };
    let age = entry.terms.age(now).as_secs();
    status.add_with_age(response.headers_mut(), rules.name.as_deref(), age);
    rules.count(outcome);
    rules.tell(Event::Answered(outcome, response.status()));
    response
}

/// What is left of an entry's freshness, in seconds.
fn ttl(entry: &Entry, now: Instant) -> i64 {
    let left = entry.terms.remaining(now);
    if left.is_zero() {
        -i64::try_from(entry.terms.stale_for(now).as_secs()).unwrap_or(i64::MAX)
    } else {
        i64::try_from(left.as_secs()).unwrap_or(i64::MAX)
    }
}

// ===== impl Entry =====

impl Entry {
    fn respond<R>(&self, ask: Ask, headers: &HeaderMap) -> Response<CacheBody<R>> {
        // RFC 9110 §13.2.1: only where the answer would be a success.
        if self.status.is_success() && ask.has(Trait::Condition) && policy::not_modified(headers, &self.headers) {
            return respond(StatusCode::NOT_MODIFIED, policy::not_modified_head(&self.headers), CacheBody::default());
        }
        if ask.verb == Verb::Head {
            return respond(self.status, self.head_of_whole(), CacheBody::default());
        }
        if ask.has(Trait::Range)
            && let Some(response) = self.respond_range(headers)
        {
            return response;
        }
        let body = match &self.content {
            Content::Whole(bytes) => CacheBody::stored(bytes.clone(), self.trailers.as_ref()),
            Content::Filling(fill) => CacheBody::reading(fill.reader()),
            Content::Parts(_) | Content::Head => CacheBody::default(),
        };
        respond(self.status, self.headers.clone(), body)
    }

    /// RFC 9110 §9.3.2: the fields that a `GET` would get, its length among them.
    fn head_of_whole(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Content::Whole(bytes) = &self.content {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        }
        headers
    }

    /// RFC 9110 §14.2: the parts that a client asks for, or 416; nothing if the whole is the answer.
    fn respond_range<R>(&self, headers: &HeaderMap) -> Option<Response<CacheBody<R>>> {
        let (length, parts) = match &self.content {
            Content::Whole(bytes) if self.status == StatusCode::OK => (bytes.len() as u64, None),
            Content::Filling(fill) if self.status == StatusCode::OK => (fill.announced()?, None),
            Content::Parts(parts) => (parts.complete()?, Some(parts)),
            _ => return None,
        };
        match policy::answer_range(headers, &self.headers, length) {
            RangeAnswer::Whole => None,
            RangeAnswer::Unsatisfiable => {
                let head = policy::unsatisfiable_head(&self.headers, length);
                Some(respond(StatusCode::RANGE_NOT_SATISFIABLE, head, CacheBody::default()))
            }
            RangeAnswer::One(range) => {
                let body = match (&self.content, parts) {
                    (Content::Whole(bytes), _) => CacheBody::stored(slice(bytes, &range), None),
                    (Content::Filling(fill), _) => CacheBody::reading(fill.reader_of(range.clone())),
                    (_, Some(parts)) => CacheBody::stored(parts.get(&range)?, None),
                    _ => return None,
                };
                Some(respond(StatusCode::PARTIAL_CONTENT, policy::partial_head(&self.headers, &range, length), body))
            }
            RangeAnswer::Several(ranges) => {
                // Of what is not here as one piece, the whole is an answer as good.
                let Content::Whole(bytes) = &self.content else { return None };
                let (head, pieces) = policy::multipart(&self.headers, &ranges, bytes, &boundary());
                Some(respond(StatusCode::PARTIAL_CONTENT, head, CacheBody::pieces(pieces)))
            }
        }
    }
}

fn respond<R>(status: StatusCode, headers: HeaderMap, body: CacheBody<R>) -> Response<CacheBody<R>> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
