//! What is answered when the service behind does not.

use crate::{Attempts, Cause, problem::problem};
use bartizan::{Deadline, NoAnswer, Refusal, fallback::Fallback};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request};

/// Why it was not the service that answered, but a layer in front of it.
pub(super) fn stack_says<B>(response: &Response<B>, attempts: &Attempts, deadline: Option<Deadline>) -> Option<Cause> {
    let extensions = response.extensions();
    if let Some(refusal) = extensions.get::<Refusal>() {
        return Some(Cause::of_refusal(*refusal, deadline));
    }
    Fallback::of(extensions).map(|fallback| Cause::of_fallback(fallback, attempts, deadline))
}

/// Whether it is the problem of a layer that refuses, and not words of somebody's own or of gRPC.
pub(super) fn is_problem_of_ours<B>(response: &Response<B>) -> bool {
    let is_problem = |value: &HeaderValue| value == "application/problem+json";
    response.extensions().get::<Refusal>().is_some()
        && response.headers().get(header::CONTENT_TYPE).is_some_and(is_problem)
}

/// The problem that tells of this cause.
pub(super) fn failed(
    cause: Cause,
    attempts: &Attempts,
    retry_after: Option<HeaderValue>,
    head: &request::Parts,
) -> Response<Bytes> {
    let (status, detail) = match cause {
        // Before the head of an answer only the request can have been too large.
        Cause::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than is accepted"),
        Cause::Timeout | Cause::Deadline => (cause.gateway_status(), "the service behind did not answer in time"),
        Cause::Connect | Cause::Tls => (cause.gateway_status(), "the service behind could not be reached"),
        Cause::Refused(_) => (cause.gateway_status(), "the service behind is not asked at the moment"),
        _ => (cause.gateway_status(), "the service behind did not answer properly"),
    };
    let mut problem = problem(status, head).detail(detail).member("code", cause.as_str());
    if attempts.count() > 1 {
        problem = problem.member("attempts", &u64::from(attempts.count()));
    }
    let mut response = problem.to_response(&head.headers);
    if status != StatusCode::PAYLOAD_TOO_LARGE {
        response.extensions_mut().insert(NoAnswer);
    }
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    }
    response
}
