//! Sends each attempt to one of the endpoints.

use super::{call::Attempts, choice::choose, endpoint::Endpoint};
use http::Request;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// Chooses an endpoint for each attempt. Ready at once: what an endpoint refuses is a response.
#[derive(Debug)]
pub(super) struct Balance<S> {
    endpoints: Arc<[Endpoint<S>]>,
}

// ===== impl Balance =====

impl<S> Balance<S> {
    pub(super) fn new(endpoints: Arc<[Endpoint<S>]>) -> Self {
        Self { endpoints }
    }
}

impl<S, B> Service<Request<B>> for Balance<S>
where
    S: Service<Request<B>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let attempts = Attempts::of(request.extensions());
        let tried = |index| attempts.is_some_and(|attempts| attempts.has_tried(index));
        let candidate = |index: usize| self.endpoints[index].state.candidate(tried(index));
        let index = choose(self.endpoints.len(), candidate, rand::random());
        if let Some(attempts) = attempts {
            attempts.choose(index);
        }
        // What stands at an endpoint refuses in the call. Asked whether it is ready, it would wait until it no longer does.
        self.endpoints[index].service.clone().call(request)
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self { endpoints: Arc::clone(&self.endpoints) }
    }
}
