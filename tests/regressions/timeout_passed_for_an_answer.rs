//! Attempts that a timeout of ours gave up were sent again only where its answer had a status of those that are: not to a
//! client of gRPC, and not where the timeout or the retry was told of other statuses.

use bartizan::{
    Deadline,
    retry::{Event, GaveUp, RequestBody, RetryLayer, RetryPolicy},
    timeout::AttemptTimeoutLayer,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const THREE: RetryPolicy = RetryPolicy::attempts(3);

type Body = Full<Bytes>;

fn get() -> Request<Body> {
    Request::new(Full::default())
}

fn grpc() -> Request<Body> {
    Request::post("/shop.Orders/Get").header("content-type", "application/grpc").body(Full::from("order")).unwrap()
}

/// Sends a request to a service that says that it is not available if it speaks first, and then nothing; tells how often it
/// was asked, and what the retry made of the end.
async fn asked(
    policy: RetryPolicy,
    timeout: AttemptTimeoutLayer,
    speaks_first: bool,
    request: Request<Body>,
) -> (usize, Option<Event>) {
    let (calls, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
    let (counted, told) = (Arc::clone(&calls), Arc::clone(&last));
    let service = service_fn(move |_: Request<RequestBody<Body>>| {
        let is_first = counted.fetch_add(1, Relaxed) == 0;
        async move {
            if is_first && speaks_first {
                let unavailable = Response::builder().header("content-type", "application/grpc");
                return Ok::<_, Infallible>(unavailable.header("grpc-status", "14").body(Body::default()).unwrap());
            }
            pending().await
        }
    });
    let retry = RetryLayer::new(policy).observe(move |event| *told.lock().unwrap() = Some(*event));
    ServiceBuilder::new().layer(retry).layer(timeout).service(service).oneshot(request).await.unwrap();
    let last = *last.lock().unwrap();
    (calls.load(Relaxed), last)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_we_gave_up_is_sent_again_whatever_our_answer_looks_like() {
    let usual = || AttemptTimeoutLayer::new(SECOND);
    let oops = || usual().on_refusal(|_| Response::builder().status(500).body(Bytes::new()).unwrap());
    let others = THREE.statuses(&[StatusCode::SERVICE_UNAVAILABLE]);
    for (what, policy, timeout, speaks_first, request) in [
        ("the usual 504", THREE, usual(), false, get()),
        ("a call of gRPC", THREE.repeatable(), usual(), false, grpc()),
        ("a call of gRPC that failed before", THREE.repeatable(), usual(), true, grpc()),
        ("a retry that knows no 504", others, usual(), false, get()),
        ("a timeout with words of its own", THREE, oops(), false, get()),
    ] {
        let (calls, last) = asked(policy, timeout, speaks_first, request).await;
        assert_eq!(calls, 3, "{what}");
        let gave_up = matches!(last, Some(Event::GaveUp { attempts: 3, why: GaveUp::Attempts, .. }));
        assert!(gave_up, "{what}: {last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_is_it_sent_again_where_that_is_not_safe_or_nobody_waits_any_more() {
    let timeout = || AttemptTimeoutLayer::new(SECOND);
    assert_eq!(asked(THREE, timeout(), false, grpc()).await.0, 1);
    for mut hurried in [get(), grpc()] {
        Deadline::after(SECOND / 2).tighten(hurried.extensions_mut());
        assert_eq!(asked(THREE.repeatable(), timeout(), false, hurried).await.0, 1);
    }
}
