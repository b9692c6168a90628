//! What is answered when nobody has time left.

use crate::shared::{GrpcStatus, OnRefusal, PreparedRefusal, Problem, Refusal, Said, with_head};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};

/// The answer to a request whose deadline has passed.
#[derive(Clone, Debug)]
pub(super) struct Refuse {
    prepared: PreparedRefusal,
    by_user: Option<OnRefusal<()>>,
}

// ===== impl Refuse =====

impl Refuse {
    pub(super) fn new() -> Self {
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("The time for this request is over.");
        let message = "the time for this request is over";
        let prepared = PreparedRefusal::new(Refusal::new("deadline"), problem, GrpcStatus::DEADLINE_EXCEEDED, message);
        Self { prepared, by_user: None }
    }

    pub(super) fn by(&mut self, answer: impl Fn(&Parts) -> Response<Bytes> + Send + Sync + 'static) {
        self.by_user = Some(OnRefusal::new(move |&(), head| answer(head)));
    }

    #[cold]
    pub(super) fn answer<B>(&self, mut request: Request<B>) -> Box<Response<Said>> {
        match &self.by_user {
            None => Box::new(self.prepared.respond(&mut request, None)),
            Some(by_user) => {
                let response = with_head(&mut request, |head| by_user.answer(&(), head));
                Box::new(self.prepared.mark(response, None))
            }
        }
    }
}
