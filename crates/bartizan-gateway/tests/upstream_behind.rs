//! A proxy and an aggregate in front of upstreams: what passes, and what is said of what did not.

mod support;

use axum::{Router, body::Body, extract::Request as Incoming, middleware::map_request, routing::get_service};
use bartizan::{Deadline, TrustedProxies, circuit_breaker::BreakerPolicy, fallback::fixed, retry::RetryPolicy};
use bartizan_gateway::{Aggregate, Proxy, Source, Upstream, Upstreams};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use support::{upstream::*, *};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

async fn proxied(upstream: Upstream) -> SocketAddr {
    let proxy = Proxy::new(upstream, "http://orders/internal").expect("a URL");
    service(Router::new().fallback_service(proxy)).await
}

async fn json(body: &'static str) -> SocketAddr {
    service(Router::new().fallback(async move || body)).await
}

/// Answers with 503 first, then with JSON.
async fn hesitant(body: &'static str) -> SocketAddr {
    let seen = Seen::default();
    service(Router::new().fallback(async move || match seen.add() {
        0 => (StatusCode::SERVICE_UNAVAILABLE, ""),
        _ => (StatusCode::OK, body),
    }))
    .await
}

// ===== a proxy =====

#[tokio::test]
async fn a_proxy_goes_to_an_endpoint_with_its_own_path() {
    let addr = service(Router::new().fallback(async |request: Incoming| request.uri().to_string())).await;
    let answer = get(proxied(orders([dead().await, addr])).await, "/a?q=1").await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "/internal/a?q=1"));
}

#[tokio::test]
async fn a_proxy_speaks_http1_in_front_and_http2_behind() {
    let app = Router::new().fallback(async |request: Incoming| {
        let version = request.version();
        let body = request.into_body().collect().await.map(|body| body.to_bytes().len());
        format!("{version:?} {body:?}")
    });
    let proxy = proxied(orders([http2_service(app).await]).http2()).await;
    let post = Request::post(format!("http://{proxy}/")).header("te", "trailers").header("connection", "te");
    let answer = send(post.body(Body::from(vec![7; 100_000])).expect("a request")).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "HTTP/2.0 Ok(100000)"));
    assert_eq!(answer.headers["via"], "2 bartizan");
}

/// What the service behind sees of who is meant, and of whether trailers are wanted.
async fn echo(request: Incoming) -> String {
    let field = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().expect("ASCII"));
    format!("{:?} {:?} {:?} {:?}", request.uri().authority(), field("host"), field("te"), field("connection"))
}

#[tokio::test]
async fn trailers_are_asked_for_over_http1_and_http2() {
    let ask = async |upstream: Upstream| {
        let proxy = proxied(upstream).await;
        let request = Request::get(format!("http://{proxy}/")).header("te", "trailers").header("connection", "te");
        send(request.body(Body::empty()).expect("a request")).await.body
    };
    let app = || Router::new().fallback(echo);
    let addr = http2_service(app()).await;
    assert_eq!(ask(orders([addr]).http2()).await, format!(r#"Some({addr}) None Some("trailers") None"#));
    let addr = service(app()).await;
    assert_eq!(ask(orders([addr])).await, format!(r#"None Some("{addr}") Some("trailers") Some("te")"#));
}

#[tokio::test]
async fn over_http2_the_target_says_the_site_and_no_host_says_another() {
    let ask = async |upstream: Upstream| {
        let proxy = Proxy::new(upstream, "http://orders/").expect("a URL").keep_host();
        let proxy = service(Router::new().fallback_service(proxy)).await;
        let request = Request::get(format!("http://{proxy}/")).header("host", "shop.example");
        send(request.body(Body::empty()).expect("a request")).await.body
    };
    let app = || Router::new().fallback(echo);
    let addr = http2_service(app()).await;
    assert_eq!(ask(orders([addr]).http2()).await, format!("Some({addr}) None None None"));
    let addr = service(app()).await;
    assert_eq!(ask(orders([addr])).await, r#"None Some("shop.example") None None"#);
}

#[tokio::test]
async fn a_proxy_tells_what_its_upstream_could_not_in_one_vocabulary() {
    let answer = get(proxied(orders([dead().await])).await, "/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!((&answer.json()["code"], &answer.json()["attempts"]), (&"connect".into(), &3.into()));

    let slow = orders([silent().await]).attempt_timeout(ms(20)).total_timeout(ms(2_000));
    let answer = get(proxied(slow).await, "/").await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((&answer.json()["code"], &answer.json()["attempts"]), (&"timeout".into(), &3.into()));

    let opens_at_once = orders([resets().await]).breaker(BreakerPolicy::consecutive_failures(1));
    let addr = proxied(opens_at_once).await;
    get(addr, "/").await;
    let answer = get(addr, "/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!((&answer.json()["code"], answer.json().get("attempts")), (&"breaker_open".into(), None));
    assert!(answer.headers.contains_key("retry-after"));

    let (addr, _) = acting("busy", async |_, _| StatusCode::SERVICE_UNAVAILABLE).await;
    let answer = get(proxied(orders([addr])).await, "/").await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::SERVICE_UNAVAILABLE, "busy"), "its own words pass");
}

#[tokio::test]
async fn a_proxy_hands_over_what_a_fallback_says() {
    let orders = orders([dead().await]).fallback(fixed(Response::new("[]".into())));
    let answer = get(proxied(orders).await, "/").await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "[]"));
    assert_eq!(answer.headers["x-fallback"], "connect");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn an_upload_takes_the_time_that_its_sender_takes() {
    let (addr, _) = acting("reads", async |_, request: Incoming| {
        let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
        if read.is_ok_and(|length| length == 8) { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }
    })
    .await;
    let orders = orders([addr]).attempt_timeout(ms(50)).total_timeout(ms(100));
    let proxy = proxied(orders.clone()).await;
    let mut client =
        connect_and_send(proxy, "POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 8\r\n\r\n").await;
    for _ in 0..8 {
        // For real: it is the time of a client that is slow.
        sleep(ms(30)).await;
        client.write_all(b"x").await.expect("sent");
    }
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(orders.status()[0].calls.failed, 0);
}

#[tokio::test]
async fn an_endpoint_that_has_all_of_an_upload_and_hangs_is_to_blame() {
    let policy = BreakerPolicy::consecutive_failures(1);
    let orders = orders([silent().await]).attempt_timeout(ms(50)).breaker(policy);
    let proxy = proxied(orders.clone()).await;
    let post = || Request::post(format!("http://{proxy}/")).body(Body::from("order")).expect("a request");
    let answer = send(post()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &"timeout".into()));
    assert_eq!(orders.status()[0].calls.failed, 1);
    let answer = send(post()).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::SERVICE_UNAVAILABLE, &"breaker_open".into()));
}

#[tokio::test]
async fn an_answer_that_asks_for_a_longer_pause_than_there_is_time_comes_at_once_whether_or_not_a_body_went() {
    for (total, answers_after, retry_after) in [(ms(1_000), ms(0), "1"), (ms(3_000), ms(1_100), "2")] {
        let app = Router::new().fallback(async move |request: Incoming| {
            request.into_body().collect().await.expect("all of the body");
            sleep(answers_after).await;
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", retry_after)], "busy")
        });
        let proxy = proxied(orders([service(app).await]).total_timeout(total)).await;
        for body in ["", "two, or"] {
            let began = Instant::now();
            let put = Request::put(format!("http://{proxy}/")).body(Body::from(body)).expect("a request");
            let answer = send(put).await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::SERVICE_UNAVAILABLE, "busy"), "{body:?}");
            assert!(began.elapsed() < answers_after + ms(700), "{body:?} after {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_call_of_grpc_that_takes_too_long_is_answered_in_its_own_words_with_and_without_a_message() {
    let once = orders([silent().await]).retry(RetryPolicy::never()).attempt_timeout(ms(50));
    // The second attempt has all of its time, and the call in all has not.
    let twice = orders([silent().await]).retry(RetryPolicy::attempts(2).repeatable()).total_timeout(ms(200));
    for upstream in [once, twice.attempt_timeout(ms(150))] {
        let proxy = proxied(upstream).await;
        for message in ["", "order"] {
            let call = Request::post(format!("http://{proxy}/")).header("content-type", "application/grpc+proto");
            let answer = send(call.body(Body::from(message)).expect("a request")).await;
            assert_eq!((answer.status, answer.headers.get("grpc-status")), (StatusCode::OK, Some(&4.into())));
            assert_eq!((answer.headers["content-type"].as_bytes(), &*answer.body), (&b"application/grpc"[..], ""));
        }
    }
}

#[tokio::test]
async fn a_long_upload_streams_through_and_is_sent_once() {
    let (addr, seen) = acting("reads", async |_, request: Incoming| {
        let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
        if read.is_ok_and(|length| length == 4 << 20) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_REQUEST
        }
    })
    .await;
    let proxy = proxied(orders([addr])).await;
    let chunks = (0..64).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; 64 << 10])));
    let put = Request::put(format!("http://{proxy}/")).body(Body::from_stream(futures_util::stream::iter(chunks)));
    assert_eq!(send(put.expect("a request")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn a_client_who_goes_frees_the_endpoint() {
    let orders = orders([silent().await]);
    let client = connect_and_send(proxied(orders.clone()).await, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    while orders.status()[0].in_flight == 0 {
        sleep(ms(1)).await;
    }
    drop(client);
    while orders.status()[0].in_flight > 0 {
        sleep(ms(1)).await;
    }
    assert_eq!(orders.status()[0].calls.failed, 0);
}

#[tokio::test]
async fn an_endpoint_is_told_how_long_the_client_waits() {
    let orders = orders([service(Router::new().fallback(time_left)).await]);
    let proxy = Proxy::new(orders.clone(), "http://orders").expect("a URL");
    let app = Router::new().fallback_service(proxy).layer(map_request(async |mut request: Incoming| {
        Deadline::after(ms(2_000)).tighten(request.extensions_mut());
        request
    }));
    let left: u64 = get(service(app).await, "/").await.body.parse().expect("milliseconds");
    assert!((1_000..2_000).contains(&left), "{left}");

    let source = Source::get("orders", "http://orders/").collection().within(ms(3_000));
    let aggregate = Aggregate::new(orders, [source]).expect("a source");
    let answer = aggregate.answer(&[], &Request::new(()).into_parts().0).await;
    let told: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
    let left = told["orders"][0].as_u64().expect("milliseconds");
    assert!((2_000..3_000).contains(&left), "{left}");
}

/// What an endpoint is told of its time; as JSON, if that is asked for.
async fn time_left(request: Incoming) -> String {
    let left = request.headers()["x-request-timeout-ms"].to_str().expect("ASCII").to_owned();
    if request.headers().contains_key("accept") { format!("[{left}]") } else { left }
}

#[tokio::test]
async fn what_a_trusted_peer_sends_again_is_sent_once_and_told_as_what_it_is() {
    let (addr, seen, told) = failing_and_told().await;
    let loopback = TrustedProxies::new(["127.0.0.0/8"]).expect("a network");
    let proxy = Proxy::new(orders([addr]), "http://orders").expect("a URL");
    let proxies = [proxy.clone().trusted(loopback), proxy];
    let [trusting, wary] = proxies.map(|proxy| service(Router::new().fallback_service(proxy)));
    for (gateway, expected) in [(trusting.await, vec!["2"]), (wary.await, vec!["", "2", "3"])] {
        let again = Request::get(format!("http://{gateway}/")).header("x-retry-attempt", "2");
        let answer = send(again.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(std::mem::take(&mut *told.lock().expect("whole")), expected);
    }
    assert_eq!(seen.count(), 4);
}

/// Fails, and keeps which attempt each was that it saw, by what it is told.
async fn failing_and_told() -> (SocketAddr, Seen, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let (addr, seen) = acting("failing", move |_, request: Incoming| {
        let attempt = request.headers().get("x-retry-attempt").map(|value| value.to_str().expect("digits").to_owned());
        tell.lock().expect("whole").push(attempt.unwrap_or_default());
        async { StatusCode::SERVICE_UNAVAILABLE }
    })
    .await;
    (addr, seen, told)
}

// ===== an aggregate =====

#[tokio::test]
async fn an_aggregate_that_is_asked_again_by_one_it_trusts_asks_each_source_once() {
    let (addr, _, told) = failing_and_told().await;
    let loopback = TrustedProxies::new(["127.0.0.0/8"]).expect("a network");
    let aggregate = Aggregate::new(orders([addr]), [Source::get("orders", "http://orders/")]).expect("a source");
    let aggregates = [aggregate.clone().trusted(loopback), aggregate];
    let [trusting, wary] = aggregates.map(|aggregate| service(Router::new().route("/", get_service(aggregate))));
    for (gateway, expected) in [(trusting.await, vec!["2"]), (wary.await, vec!["", "2", "3"])] {
        let again = Request::get(format!("http://{gateway}/")).header("x-retry-attempt", "2");
        send(again.body(Body::empty()).expect("a request")).await;
        assert_eq!(std::mem::take(&mut *told.lock().expect("whole")), expected);
    }
}

#[tokio::test]
async fn an_aggregate_tells_of_each_source_how_it_went() {
    let of = |name: &str, addr| Upstream::new(name, [format!("http://{addr}")]).expect("an endpoint");
    let upstreams = Upstreams::new([
        of("users", json(r#"{"id":"u1"}"#).await),
        of("orders", hesitant("[1]").await),
        of("notes", dead().await).fallback(fixed(Response::new(r#"{"unread":0}"#.into()))),
        of("hints", silent().await).attempt_timeout(ms(20)).total_timeout(ms(1_000)),
        of("maps", dead().await).breaker(BreakerPolicy::consecutive_failures(1)),
    ])
    .expect("five names");
    let aggregate = Aggregate::new(
        upstreams,
        [
            Source::get("user", "http://users/").required(),
            Source::get("orders", "http://orders/").collection(),
            Source::get("notes", "http://notes/"),
            Source::get("hints", "http://hints/"),
            Source::get("maps", "http://maps/"),
        ],
    )
    .expect("sources");
    let addr = service(Router::new().route("/", get_service(aggregate))).await;
    let answer = get(addr, "/").await;
    assert_eq!(
        (answer.status, &answer.headers["cache-control"]),
        (StatusCode::OK, &"no-store".parse().expect("a value"))
    );
    let answer = answer.json();
    assert_eq!((&answer["orders"][0], &answer["notes"]["unread"]), (&1.into(), &0.into()));
    let sources = &answer["_meta"]["sources"];
    let told = |name: &str| {
        let mut told = sources[name].clone();
        told.as_object_mut().expect("an object").remove("ms").expect("how long it took");
        told.to_string()
    };
    assert_eq!(told("user"), r#"{"attempts":1,"breaker":"closed","http":200,"status":"ok"}"#);
    assert_eq!(told("orders"), r#"{"attempts":2,"breaker":"closed","http":200,"status":"ok"}"#);
    assert_eq!(told("notes"), r#"{"attempts":3,"breaker":"closed","cause":"connect","status":"fallback"}"#);
    assert_eq!(told("hints"), r#"{"attempts":3,"breaker":"closed","cause":"timeout","status":"error"}"#);
    assert_eq!(told("maps"), r#"{"attempts":1,"breaker":"open","cause":"breaker_open","status":"error"}"#);
    assert_eq!(answer["_meta"]["complete"], false);
}

#[tokio::test]
async fn a_source_whose_url_names_no_upstream_was_never_sent() {
    let upstreams = Upstreams::new([orders([dead().await])]).expect("one name");
    let aggregate = Aggregate::new(upstreams, [Source::get("bills", "http://bills/")]).expect("a source");
    let answer = aggregate.answer(&[], &Request::new(()).into_parts().0).await;
    let told: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
    let bills = &told["_meta"]["sources"]["bills"];
    assert_eq!((&bills["status"], &bills["attempts"]), (&"error".into(), &0.into()));
}

#[tokio::test]
async fn what_a_fallback_has_said_completes_nothing() {
    let orders = orders([dead().await]).fallback(fixed(Response::new(r#"{"total":0}"#.into())));
    let aggregate = Aggregate::new(orders, [Source::get("orders", "http://orders/").required()]).expect("a source");
    let answer = aggregate.answer(&[], &Request::new(()).into_parts().0).await;
    assert_eq!(
        (answer.status(), &answer.headers()["x-bartizan-complete"]),
        (StatusCode::OK, &"?0".parse().expect("a value"))
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_source_has_its_time_and_no_more_whatever_its_upstream_has() {
    let orders = orders([silent().await]);
    let of = |source: Source| Aggregate::new(orders.clone(), [source]).expect("a source");
    let head = || Request::new(()).into_parts().0;
    let answer = of(Source::get("orders", "http://orders/").within(ms(50))).answer(&[], &head()).await;
    let told: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
    assert_eq!(told["_meta"]["sources"]["orders"]["cause"], "timeout");

    let mut hurried = head();
    Deadline::after(ms(50)).tighten(&mut hurried.extensions);
    let answer = of(Source::get("orders", "http://orders/")).answer(&[], &hurried).await;
    let told: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
    assert_eq!(told["_meta"]["sources"]["orders"]["cause"], "deadline");
}

#[tokio::test]
async fn an_endpoint_that_is_silent_until_the_time_of_its_source_is_over_opens_its_breaker() {
    let policy = BreakerPolicy::consecutive_failures(2);
    let of = |within| {
        let orders = async { orders([silent().await]).breaker(policy) };
        async move {
            let orders = orders.await;
            let source = Source::get("orders", "http://orders/").within(within);
            (orders.clone(), Aggregate::new(orders, [source]).expect("a source"))
        }
    };
    let head = || Request::new(()).into_parts().0;
    let cause = async |aggregate: &Aggregate<Upstream>, head| {
        let answer = aggregate.answer(&[], &head).await;
        let told: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
        told["_meta"]["sources"]["orders"]["cause"].as_str().expect("a cause").to_owned()
    };

    let (orders, aggregate) = of(ms(50)).await;
    for expected in ["timeout", "timeout", "breaker_open"] {
        assert_eq!(cause(&aggregate, head()).await, expected);
    }
    assert_eq!(orders.status()[0].calls.failed, 2);

    // The time of the aggregate in all is ours, too.
    let (orders, aggregate) = of(PATIENCE).await;
    let aggregate = aggregate.within(ms(50));
    for expected in ["deadline", "deadline", "breaker_open"] {
        assert_eq!(cause(&aggregate, head()).await, expected);
    }
    assert_eq!(orders.status()[0].calls.failed, 2);

    // What came with the request is not: a client that gives too little time harms nobody.
    let (orders, aggregate) = of(PATIENCE).await;
    for _ in 0..3 {
        let mut hurried = head();
        Deadline::after(ms(50)).tighten(&mut hurried.extensions);
        assert_eq!(cause(&aggregate, hurried).await, "deadline");
    }
    assert_eq!(orders.status()[0].calls.failed, 0);
}
