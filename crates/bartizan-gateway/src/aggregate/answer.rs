//! What the client is told: the merged document, or the problem.

use super::{
    fetch::{Failure, Outcome},
    service::Meta,
    source::{Place, Source},
};
use crate::{Cause, problem::problem};
use bartizan::{Flag, Member, Notes, retry_after_of};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request};
use std::fmt::Write;

/// Whether all sources answered, for clients that look at heads only: a boolean of RFC 9651, `?1` or `?0`.
const COMPLETE: HeaderName = HeaderName::from_static("x-bartizan-complete");

/// One source and what became of it. `None`: it was given up because the answer was decided without it.
pub(super) type Asked<'a> = (&'a Source, Option<Outcome>);

/// The document of all sources that answered, in the order in which they were declared.
pub(super) fn merged(
    asked: &[Asked<'_>],
    meta: &Meta,
    cache_control: Option<&HeaderValue>,
    depends_on: &[HeaderName],
    head: &request::Parts,
) -> Response<Bytes> {
    let mut document = String::from("{");
    let mut complete = true;
    for (source, outcome) in asked {
        let Some(Outcome { result: Ok(part), cached, instead, .. }) = outcome else {
            complete = false;
            continue;
        };
        complete &= instead.is_none();
        if let Some(cached) = cached {
            cached.note(&head.extensions);
        }
        match &source.place {
            Place::Member(name) => {
                begin_member(&mut document, name);
                document.push_str(part);
            }
            Place::Inline => {
                let fields = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).unwrap_or_default();
                if !fields.is_empty() {
                    separate(&mut document);
                    document.push_str(fields);
                }
            }
        }
    }
    if let Meta::Member(name) = meta {
        begin_member(&mut document, name);
        document.push_str("{\"complete\":");
        complete.write_json(&mut document);
        document.push_str(",\"sources\":");
        Sources(asked).write_json(&mut document);
        document.push('}');
    }
    document.push('}');

    let mut response = Response::new(Bytes::from(document));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // RFC 9110 §12.5.5: what the sources were told of the client, another client tells them differently.
    for name in depends_on {
        headers.append(header::VARY, HeaderValue::from(name.clone()));
    }
    if !matches!(meta, Meta::Off) {
        headers.insert(COMPLETE, HeaderValue::from_static(if complete { "?1" } else { "?0" }));
    }
    if !complete {
        // Nobody may keep what the next request would complete.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(notes) = Notes::of(&head.extensions) {
            notes.flag(Flag::Partial);
        }
    } else if let Some(value) = cache_control {
        headers.insert(header::CACHE_CONTROL, value.clone());
    }
    response
}

/// The answer when the required source `failed` has decided it.
pub(super) fn failed(
    asked: &[Asked<'_>],
    failed: &Source,
    failure: &Failure,
    head: &request::Parts,
) -> Response<Bytes> {
    let Failure { cause, head: theirs } = failure;
    cause.note(&head.extensions);
    let status = cause.gateway_status();
    let mut problem = problem(status, head)
        .detail(format!("the source {:?} {}", failed.name, in_words(*cause)))
        .member("code", cause.as_str())
        .member("sources", &Sources(asked));

    let waits = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
    let retry_after = waits.then(|| RetryAfter::of(theirs));
    if let Some(RetryAfter::Seconds(seconds)) = &retry_after {
        problem = problem.member("retry_after", seconds);
    }
    let mut response = problem.to_response(&head.headers);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match retry_after {
        Some(RetryAfter::Seconds(seconds)) => _ = headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds)),
        Some(RetryAfter::Date(date)) => _ = headers.insert(header::RETRY_AFTER, date),
        None => {}
    }
    // RFC 9110 §15.5.2: a 401 comes with a challenge.
    if let (StatusCode::UNAUTHORIZED, Some(challenge)) = (status, theirs.get(header::WWW_AUTHENTICATE)) {
        headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

/// The answer to parameters that can't stand in a path.
pub(super) fn unfit(head: &request::Parts) -> Response<Bytes> {
    let problem = problem(StatusCode::BAD_REQUEST, head);
    problem
        .detail("a part of the path is empty, leads out of its place with dots, or is not UTF-8")
        .to_response(&head.headers)
}

/// When to come back (RFC 9110 §10.2.3).
enum RetryAfter {
    Seconds(u64),
    /// Passed on as it was written.
    Date(HeaderValue),
}

impl RetryAfter {
    /// What these fields say of it; a second, if it can't be read.
    fn of(headers: &HeaderMap) -> Self {
        match (retry_after_of(headers), headers.get(header::RETRY_AFTER)) {
            // §5.6.7: the form without a zone is one that nobody should write any more.
            (Some(_), Some(date)) if date.as_bytes().ends_with(b" GMT") => Self::Date(date.clone()),
            (Some(time), _) => Self::Seconds(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)),
            (None, _) => Self::Seconds(1),
        }
    }
}

fn in_words(cause: Cause) -> String {
    match cause {
        Cause::Timeout | Cause::Deadline => "did not answer in time".to_owned(),
        Cause::Connect => "could not be reached".to_owned(),
        Cause::Tls => "could not be reached securely".to_owned(),
        Cause::ConnectionReset => "closed the connection without an answer".to_owned(),
        Cause::Protocol => "answered something that is not HTTP".to_owned(),
        Cause::Body => "broke off in the middle of its answer".to_owned(),
        Cause::Decode => "answered something other than the expected JSON".to_owned(),
        Cause::TooLarge => "answered more than is accepted".to_owned(),
        Cause::Status(status) => format!("answered {status}"),
        Cause::Refused(_) => "is not asked at the moment".to_owned(),
        Cause::Other => "could not be asked".to_owned(),
    }
}

/// The members of `sources`: how each of them went.
struct Sources<'a>(&'a [Asked<'a>]);

impl Member for Sources<'_> {
    fn write_json(&self, out: &mut String) {
        out.push('{');
        for (source, outcome) in self.0 {
            begin_member(out, &source.name);
            let Some(Outcome { result, http, cached, instead, attempts, breaker, took }) = outcome else {
                out.push_str(r#"{"status":"skipped"}"#);
                continue;
            };
            let (status, cause) = match (result, instead) {
                (Ok(_), None) => ("ok", None),
                (Ok(_), Some(cause)) => ("fallback", Some(cause)),
                (Err(Failure { cause, .. }), _) => ("error", Some(cause)),
            };
            // A `String` takes every write.
            let _ = write!(out, r#"{{"status":"{status}""#);
            if let Some(cause) = cause {
                begin_member(out, "cause");
                cause.as_str().write_json(out);
            }
            if let Some(status) = http {
                let _ = write!(out, r#","http":{}"#, status.as_u16());
            }
            if let Some(cached) = cached {
                let _ = write!(out, r#","cache":"{}""#, cached.as_str());
            }
            let _ = write!(out, r#","attempts":{attempts}"#);
            if let Some(breaker) = breaker {
                let _ = write!(out, r#","breaker":"{}""#, breaker.as_str());
            }
            let _ = write!(out, r#","ms":{}}}"#, took.as_millis());
        }
        out.push('}');
    }
}

fn begin_member(out: &mut String, name: &str) {
    separate(out);
    name.write_json(out);
    out.push(':');
}

/// A comma, unless this is the first member.
fn separate(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}
