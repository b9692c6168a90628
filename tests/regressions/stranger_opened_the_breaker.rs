//! A client whom nobody trusted told the service behind that it did not wait; that refused, and the breaker counted it.

use bartizan::{
    circuit_breaker::{Breaker, CircuitBreakerLayer, State},
    deadline::{DeadlineLayer, PropagateDeadlineLayer},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::{convert::Infallible, time::Duration};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const MAXIMUM: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_open_the_breaker_of_all() {
    // The service behind trusts the gateway.
    let behind = ServiceBuilder::new()
        .layer(DeadlineLayer::new(MAXIMUM).trust_everybody())
        .service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    // Extensions do not cross the wire.
    let wire = service_fn(move |mut request: Request<()>| {
        let behind = behind.clone();
        request.extensions_mut().clear();
        async move {
            let mut response = behind.oneshot(request).await?;
            response.extensions_mut().clear();
            Ok::<_, Infallible>(response)
        }
    });
    let breaker = Breaker::default();
    let gateway = ServiceBuilder::new()
        .layer(DeadlineLayer::new(MAXIMUM))
        .layer(CircuitBreakerLayer::new(breaker.clone()))
        .layer(PropagateDeadlineLayer::new())
        .service(wire);

    for (field, nothing, content_type) in
        [("x-request-timeout-ms", "0", "text/plain"), ("grpc-timeout", "0n", "application/grpc")]
    {
        for _ in 0..20 {
            let hostile = Request::get("/").header(field, nothing).header("content-type", content_type);
            let answer = gateway.clone().oneshot(hostile.body(()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    assert_eq!((breaker.state(), breaker.metrics().failed), (State::Closed, 0));
}
