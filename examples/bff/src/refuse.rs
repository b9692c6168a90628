//! What the services and their switches answer to what makes no sense.

use axum::{body::Body, response::Response};
use bartizan::Problem;
use http::{HeaderMap, StatusCode};

/// A problem that says `why`, to the request with these fields.
pub(crate) fn refuse(headers: &HeaderMap, status: StatusCode, why: impl Into<String>) -> Response {
    Problem::new(status).detail(why.into()).to_response(headers).map(Body::from)
}
