//! The problem that names its request.

use bartizan::{Problem, RequestId};
use http::{StatusCode, request};

/// A problem with the id of the request, if it has one.
pub(crate) fn problem(status: StatusCode, head: &request::Parts) -> Problem {
    let problem = Problem::new(status);
    match RequestId::of(&head.extensions) {
        Some(id) => problem.instance(format!("urn:request:{id}")),
        None => problem,
    }
}
