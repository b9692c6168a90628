//! One call, from the request to the shaped answer, within its time.

use super::source::Source;
use crate::{Attempts, Cause, HttpService, SendError, cached::Cached};
use axum::{BoxError, body::Body};
use bartizan::{Deadline, Refusal, circuit_breaker::State, fallback::Fallback};
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

/// How one call went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<String, Failure>,
    /// The status with which the source answered, if it did.
    pub(super) http: Option<StatusCode>,
    /// What the cache in front of it says of the answer, if there is one.
    pub(super) cached: Option<Cached>,
    /// Why a fallback has answered in its place, if one has.
    pub(super) instead: Option<Cause>,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// What its breaker does by now, if it has one.
    pub(super) breaker: Option<State>,
    pub(super) took: Duration,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// What of the head of the source's answer the client needs, if that answer becomes its own.
    pub(super) head: HeaderMap,
}

/// What is known of an answer before there is a result.
#[derive(Default)]
struct Known {
    http: Option<StatusCode>,
    cached: Option<Cached>,
    instead: Option<Cause>,
    /// There is nobody to ask.
    names_none: bool,
    attempts: Attempts,
}

/// Calls `source`. Dropping the future ends the call and closes its connection.
pub(super) async fn fetch<C: HttpService>(
    client: C,
    source: &Source,
    url: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    deadline: Option<Deadline>,
) -> Outcome {
    let start = Instant::now();
    let limit = Deadline::after(source.within);
    let (end, too_late) = match deadline {
        Some(deadline) if deadline < limit => (deadline, Cause::Deadline),
        _ => (limit, Cause::Timeout),
    };
    let mut known = Known::default();
    let request = request(url, headers, extensions, limit, &known.attempts);
    let answer = answer(client, request, source, deadline, &mut known);
    let result = timeout_at(end.instant(), answer).await.unwrap_or_else(|_| Err(too_late.into()));
    let breaker = known.attempts.breaker();
    let attempts = match breaker {
        Some(_) => known.attempts.count(),
        // Any other client sends what it is asked for, unless something in front of it says that it has answered.
        None => u32::from(!known.is_answered_here(&result)),
    };
    let Known { http, cached, instead, .. } = known;
    Outcome { result, http, cached, instead, attempts, breaker, took: start.elapsed() }
}

fn request(
    url: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    limit: Deadline,
    attempts: &Attempts,
) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // What is compressed would have to be decompressed before it is shaped, and counted.
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // For the layers in front of the source.
    request.extensions_mut().insert(attempts.clone());
    limit.limit(request.extensions_mut());
    request
}

async fn answer<C: HttpService>(
    client: C,
    request: Request<Body>,
    source: &Source,
    deadline: Option<Deadline>,
    known: &mut Known,
) -> Result<String, Failure> {
    let response = client.oneshot(request).await.map_err(|error| {
        let error: BoxError = error.into();
        known.names_none = SendError::names_none(error.as_ref());
        Cause::of_send(error.as_ref())
    })?;
    let (head, body) = response.into_parts();
    if let Some(refusal) = head.extensions.get::<Refusal>() {
        return Err(Failure { cause: Cause::of_refusal(*refusal, deadline), head: head.headers });
    }
    match Fallback::of(&head.extensions) {
        Some(fallback) => known.instead = Some(Cause::of_fallback(fallback, &known.attempts, deadline)),
        None => {
            known.http = Some(head.status);
            known.cached = Cached::of(&head.headers);
        }
    }
    if !head.status.is_success() {
        return Err(Failure { cause: Cause::Status(head.status), head: head.headers });
    }
    // A source that says how much it will send is believed when it says too much.
    if http_body::Body::size_hint(&body).lower() > source.max_bytes as u64 {
        return Err(Cause::TooLarge.into());
    }
    let body = Limited::new(body, source.max_bytes).collect().await;
    let body = body.map_err(|error: BoxError| Cause::of_body(&error))?;
    source.shape.apply(&body.to_bytes()).map_err(|_| Cause::Decode.into())
}

impl Known {
    fn is_answered_here(&self, result: &Result<String, Failure>) -> bool {
        self.names_none
            || matches!(self.cached, Some(Cached::Hit | Cached::Collapsed))
            || matches!(self.instead, Some(Cause::Refused(_)))
            || matches!(result, Err(Failure { cause: Cause::Refused(_), .. }))
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, head: HeaderMap::new() }
    }
}
