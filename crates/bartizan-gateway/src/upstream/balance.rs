//! Sends each attempt to one of the endpoints.

use super::{call::Attempts, choice::choose, endpoint::Endpoint};
use bartizan::Refusal;
use http::{Extensions, Request};
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

/// Whether a call with these extensions, refused at the endpoint that was chosen for it, would go to another that takes it.
/// What was so when it was chosen may be otherwise in the call: somebody else was quicker.
pub(super) fn takes_elsewhere<S>(endpoints: &[Endpoint<S>], refusal: Refusal, extensions: &Extensions) -> bool {
    // What stands before an endpoint says so. A deadline, say, is over at each of them.
    let is_of_endpoint = matches!(refusal.error_type(), "breaker_open" | "overloaded");
    let attempts = Attempts::of(extensions).filter(|_| is_of_endpoint);
    attempts.is_some_and(|attempts| {
        let mut all = endpoints.iter().enumerate();
        all.any(|(index, endpoint)| endpoint.state.candidate(attempts.has_tried(index)).is_fit())
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        address::Address,
        connection::{Connection, Protocol},
        connector::Trust,
        endpoint::EndpointState,
    };
    use bartizan::{
        circuit_breaker::{Breaker, BreakerPolicy},
        concurrency_limit::ConcurrencyLimit,
        retry::{RetryLayer, RetryPolicy},
    };
    use bytes::Bytes;
    use http::{Method, Response, StatusCode};
    use http_body_util::Full;
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        sync::atomic::{AtomicU32, Ordering},
    };
    use tower::{Layer, ServiceExt};

    /// What stands before an endpoint refuses with this word, though it looks as if it took one more.
    #[derive(Clone)]
    struct Guarded {
        says: Option<&'static str>,
        calls: Arc<AtomicU32>,
    }

    impl<B> Service<Request<B>> for Guarded {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<B>) -> Self::Future {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let mut answer = Response::new(Full::default());
            if let Some(word) = self.says {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer.extensions_mut().insert(Refusal::new(word));
            }
            ready(Ok(answer))
        }
    }

    fn endpoint(says: Option<&'static str>) -> Endpoint<Guarded> {
        let address = Address::parse("http://127.0.0.1:9").unwrap();
        let state = EndpointState {
            url: "http://127.0.0.1:9".into(),
            breaker: Breaker::new(BreakerPolicy::new()),
            limit: ConcurrencyLimit::new(1),
            connection: Connection::new(
                address,
                Protocol::default(),
                &Trust::default(),
                std::time::Duration::from_secs(4),
            ),
        };
        Endpoint { state, service: Guarded { says, calls: Arc::default() } }
    }

    const THREE: RetryPolicy = RetryPolicy::attempts(3);

    /// How a call ends, and how often the endpoints were called for it.
    async fn call(says: &[Option<&'static str>], open: Option<usize>) -> (StatusCode, u32) {
        call_with(THREE, Method::GET, says, open).await
    }

    async fn call_with(
        policy: RetryPolicy,
        method: Method,
        says: &[Option<&'static str>],
        open: Option<usize>,
    ) -> (StatusCode, u32) {
        let endpoints: Arc<[_]> = says.iter().map(|says| endpoint(*says)).collect();
        if let Some(open) = open {
            endpoints[open].state.breaker.force_open();
        }
        let all = Arc::clone(&endpoints);
        let retry = RetryLayer::new(policy)
            .carry::<Attempts>()
            .elsewhere(move |refusal, extensions| takes_elsewhere(&all, refusal, extensions));
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = method;
        request.extensions_mut().insert(Attempts::default());
        let answer = retry.layer(Balance::new(Arc::clone(&endpoints))).oneshot(request).await.unwrap();
        let calls = endpoints.iter().map(|endpoint| endpoint.service.calls.load(Ordering::Relaxed)).sum();
        (answer.status(), calls)
    }

    #[tokio::test]
    async fn a_call_that_one_endpoint_refuses_after_all_goes_to_another_that_takes_it() {
        for word in ["breaker_open", "overloaded"] {
            for _ in 0..50 {
                let (status, calls) = call(&[Some(word), None], None).await;
                assert!(status == StatusCode::OK && calls <= 2, "{status} after {calls} calls");
                let (status, calls) = call(&[Some(word), Some(word), None], None).await;
                assert!(status == StatusCode::OK && calls <= 3, "{status} after {calls} calls");
            }
        }
    }

    /// Nothing was sent, so it is none that may be sent twice.
    #[tokio::test]
    async fn so_does_one_that_may_not_be_sent_twice() {
        for policy in [THREE, THREE.only_repeatable()] {
            for _ in 0..50 {
                let (status, calls) = call_with(policy, Method::POST, &[Some("breaker_open"), None], None).await;
                assert!(status == StatusCode::OK && calls <= 2, "{status} after {calls} calls");
            }
        }
    }

    #[tokio::test]
    async fn a_call_that_no_other_endpoint_takes_ends_with_the_refusal() {
        for (says, open, calls) in [
            (vec![Some("overloaded"), Some("overloaded")], None, 2),
            (vec![Some("overloaded"), None], Some(1), 1),
            (vec![Some("deadline"), Some("deadline")], None, 1),
        ] {
            assert_eq!(call(&says, open).await, (StatusCode::SERVICE_UNAVAILABLE, calls), "{says:?}");
        }
    }
}
