//! One call, from the request to the shaped answer, within its time.

use super::{shape::Shape, source::Source};
use crate::{Cause, Upstream};
use axum::{BoxError, body::Body};
use bartizan::{Deadline, Refusal};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
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
    pub(super) took: Duration,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// What of the head of the source's answer the client needs, if that answer becomes its own.
    pub(super) head: HeaderMap,
}

/// Calls `source`. Dropping the future ends the call and closes its connection.
pub(super) async fn fetch<C: Upstream>(
    client: C,
    source: &Source,
    url: Uri,
    headers: HeaderMap,
    deadline: Option<Deadline>,
) -> Outcome {
    let start = Instant::now();
    let limit = Deadline::after(source.within);
    let (end, too_late) = match deadline {
        Some(deadline) if deadline < limit => (deadline, Cause::Deadline),
        _ => (limit, Cause::Timeout),
    };
    let mut http = None;
    let answer = answer(client, url, headers, source.max_bytes, &source.shape, &mut http);
    let result = timeout_at(end.instant(), answer).await.unwrap_or_else(|_| Err(too_late.into()));
    Outcome { result, http, took: start.elapsed() }
}

async fn answer<C: Upstream>(
    client: C,
    url: Uri,
    headers: HeaderMap,
    max_bytes: usize,
    shape: &Shape,
    http: &mut Option<StatusCode>,
) -> Result<String, Failure> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // What is compressed would have to be decompressed before it is shaped, and counted.
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));

    let response = client.oneshot(request).await.map_err(|error| Cause::of_send(&error.into()))?;
    let (head, body) = response.into_parts();
    if let Some(refusal) = head.extensions.get::<Refusal>() {
        return Err(Failure { cause: Cause::Refused(*refusal), head: head.headers });
    }
    *http = Some(head.status);
    if !head.status.is_success() {
        return Err(Failure { cause: Cause::Status(head.status), head: head.headers });
    }
    // A source that says how much it will send is believed when it says too much.
    if http_body::Body::size_hint(&body).lower() > max_bytes as u64 {
        return Err(Cause::TooLarge.into());
    }
    let body = Limited::new(body, max_bytes).collect().await.map_err(|error: BoxError| Cause::of_body(&error))?;
    shape.apply(&body.to_bytes()).map_err(|_| Cause::Decode.into())
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, head: HeaderMap::new() }
    }
}
