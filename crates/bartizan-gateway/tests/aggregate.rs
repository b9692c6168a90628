//! Aggregates over real sockets, with services that are slow, dead, or lie.

mod support;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    middleware::map_request,
    routing::{get as on_get, get_service},
};
use bartizan::{
    Deadline, Refusal,
    fallback::{FallbackLayer, fixed},
    request_id::RequestIdLayer,
};
use bartizan_gateway::{Aggregate, HttpService, Meta, Source, client};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use support::*;
use tokio::{
    io::AsyncReadExt,
    sync::{Barrier, mpsc},
    time::timeout,
};
use tower::Layer;

async fn gateway(sources: impl IntoIterator<Item = Source>) -> SocketAddr {
    serving(Aggregate::new(client(), sources).expect("sources")).await
}

async fn serving<C: HttpService>(aggregate: Aggregate<C>) -> SocketAddr {
    service(Router::new().route("/{user}", get_service(aggregate))).await
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/{{user}}")
}

/// A short time for what is meant to be too slow.
fn limit(cause: &str) -> Duration {
    if cause == "timeout" { ms(200) } else { PATIENCE }
}

/// A service that answers everything with this document.
async fn saying(document: &'static str) -> SocketAddr {
    service(Router::new().fallback(move || async move { document })).await
}

#[tokio::test]
async fn the_parts_are_shaped_and_merged_in_the_order_in_which_they_were_declared() {
    let users = saying(r#"{"id":"u1","name":"Ada","plan":"pro","password":"x"}"#).await;
    let orders = saying(r#"[{"id":12345678,"internal_ref":"x"},{"id":9007199254740993.10}]"#).await;
    let unread = saying(r#"{"data":{"count":0}}"#).await;
    let gateway = gateway([
        Source::get("user", url(users)).required().allow(["id", "name"]).rename("name", "first_name"),
        Source::get("orders", url(orders)).collection().deny(["internal_ref"]),
        Source::get("unread", url(unread)).target("data").allow(["count"]).rename("count", "unread").inline(),
    ])
    .await;

    let answer = get(gateway, "/u1").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-bartizan-complete"], "?1");
    assert!(!answer.headers.contains_key("cache-control"));
    let parts = r#"{"user":{"id":"u1","first_name":"Ada"},"orders":[{"id":12345678},{"id":9007199254740993.10}],"unread":0,"_meta":"#;
    assert!(answer.body.starts_with(parts), "{}", answer.body);
    let meta = &answer.json()["_meta"];
    assert_eq!(meta["complete"], true);
    assert_eq!(meta["sources"]["orders"]["status"], "ok");
    assert_eq!(meta["sources"]["orders"]["http"], 200);
    assert!(meta["sources"]["orders"]["ms"].is_u64());
    // The plain client sends once, and has no breaker.
    assert_eq!((&meta["sources"]["user"]["attempts"], meta["sources"]["user"].get("breaker")), (&json!(1), None));
}

#[tokio::test]
async fn all_sources_are_called_at_once() {
    // Nobody answers before all three have been asked.
    let barrier = Arc::new(Barrier::new(3));
    let meeting = on_get(move || {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            json!({}).to_string()
        }
    });
    let all = service(Router::new().route("/{user}", meeting)).await;
    let gateway = gateway(["a", "b", "c"].map(|name| Source::get(name, url(all)).within(PATIENCE))).await;
    assert_eq!(get(gateway, "/u1").await.json()["_meta"]["complete"], true);
}

#[tokio::test]
async fn an_optional_source_that_fails_is_told_of_and_its_part_missing() {
    let too_long = format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{{{}", " ".repeat(1999));
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n", "[".repeat(2000));
    let failing = [
        ("ok", saying("{}").await, ""),
        ("slow", silent().await, "timeout"),
        ("dead", dead().await, "connect"),
        ("resets", resets().await, "connection_reset"),
        ("hangs_up", answers("").await, "connection_reset"),
        ("babbles", answers("220 smtp ready\r\n\r\n").await, "protocol"),
        ("breaks_off", answers("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"a\":").await, "body"),
        (
            "breaks_off_chunked",
            answers("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n").await,
            "body",
        ),
        ("html", answers("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await, "decode"),
        ("an_array", saying("[]").await, "decode"),
        ("no_content", answers("HTTP/1.1 204 No Content\r\n\r\n").await, "decode"),
        ("too_long", answers(too_long).await, "too_large"),
        ("too_long_chunked", answers(chunked).await, "too_large"),
        ("lost", answers("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await, "404"),
        ("broken", answers("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await, "503"),
        ("elsewhere", answers("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await, "302"),
    ];
    let source = |(name, addr, cause): &(&str, SocketAddr, &str)| {
        Source::get(*name, url(*addr)).within(limit(cause)).max_bytes(1000)
    };
    let gateway = gateway(failing.iter().map(source)).await;

    let answer = get(gateway, "/u1").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["x-bartizan-complete"], "?0");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let document = answer.json();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["_meta", "ok"]);
    assert_eq!(document["_meta"]["complete"], false);
    for (name, _, cause) in failing.iter().skip(1) {
        let source = &document["_meta"]["sources"][name];
        assert_eq!((&source["status"], &source["cause"]), (&json!("error"), &json!(cause)), "{name}");
    }
    assert_eq!(document["_meta"]["sources"]["lost"]["http"], 404);
    assert_eq!(document["_meta"]["sources"]["dead"].get("http"), None);
}

#[tokio::test]
async fn a_required_source_that_fails_decides_the_answer() {
    let cases = [
        (silent().await, 504, "timeout"),
        (dead().await, 502, "connect"),
        (resets().await, 502, "connection_reset"),
        (answers("nonsense\r\n\r\n").await, 502, "protocol"),
        (answers("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>").await, 502, "decode"),
        (answers("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await, 502, "500"),
        (answers("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await, 404, "404"),
        // A challenge of a proxy's, and what says something of a method or a connection that is not the client's.
        (answers("HTTP/1.1 405 Not So\r\nallow: PUT\r\ncontent-length: 0\r\n\r\n").await, 502, "405"),
        (answers("HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n").await, 502, "407"),
        (answers("HTTP/1.1 408 Come On\r\ncontent-length: 0\r\n\r\n").await, 502, "408"),
        (answers("HTTP/1.1 421 Not Here\r\ncontent-length: 0\r\n\r\n").await, 502, "421"),
        (answers("HTTP/1.1 426 Up\r\nupgrade: TLS/1.3\r\ncontent-length: 0\r\n\r\n").await, 502, "426"),
        (answers("HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await, 429, "429"),
    ];
    for (addr, status, cause) in cases {
        let gateway = gateway([
            Source::get("user", url(addr)).required().within(limit(cause)),
            Source::get("other", url(silent().await)).within(PATIENCE),
        ])
        .await;
        let answer = get(gateway, "/u1").await;
        assert_eq!(answer.status.as_u16(), status, "{cause}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], cause);
        assert_eq!(problem["sources"]["user"]["cause"], cause);
        assert_eq!(problem["sources"]["other"], json!({"status": "skipped"}), "it is given up at once");
        assert!(!answer.body.contains("127.0.0.1"), "nothing internal: {}", answer.body);
        assert_eq!(answer.headers.get("retry-after").is_some(), status == 429, "{cause}");
    }
}

#[tokio::test]
async fn a_call_that_a_layer_refuses_is_a_503_with_retry_after() {
    let client = tower::service_fn(|_: http::Request<Body>| async {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.extensions_mut().insert(Refusal::new("breaker_open"));
        response.headers_mut().insert("retry-after", HeaderValue::from_static("5"));
        Ok::<_, std::convert::Infallible>(response)
    });
    let gateway =
        serving(Aggregate::new(client, [Source::get("user", "http://users/{user}").required()]).unwrap()).await;
    let answer = get(gateway, "/u1").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "5");
    let problem = answer.json();
    assert_eq!((&problem["code"], &problem["retry_after"]), (&json!("breaker_open"), &json!(5)));
    assert_eq!(problem["sources"]["user"]["cause"], "breaker_open");
    assert_eq!(problem["sources"]["user"]["attempts"], 0);
}

#[tokio::test]
async fn what_a_fallback_answers_for_a_call_that_was_refused_has_not_been_sent() {
    let refusing = tower::service_fn(|_: http::Request<Body>| async {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.extensions_mut().insert(Refusal::new("breaker_open"));
        Ok::<_, std::convert::Infallible>(response)
    });
    let client = FallbackLayer::new(fixed(Response::new(r#"{"id":"u1"}"#.into()))).layer(refusing);
    let gateway = serving(Aggregate::new(client, [Source::get("user", "http://users/{user}")]).unwrap()).await;
    let answer = get(gateway, "/u1").await.json();
    let user = &answer["_meta"]["sources"]["user"];
    assert_eq!((&user["status"], &user["cause"]), (&json!("fallback"), &json!("breaker_open")));
    assert_eq!(user["attempts"], 0);
}

#[tokio::test]
async fn a_date_to_come_back_is_passed_on_as_it_was_written() {
    let date = "Fri, 20 Nov 2037 13:54:33 GMT";
    let users = answers(format!("HTTP/1.1 429 Slow\r\nretry-after: {date}\r\ncontent-length: 0\r\n\r\n")).await;
    let answer = get(gateway([Source::get("user", url(users)).required()]).await, "/u1").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers["retry-after"], date);
    assert_eq!(answer.json().get("retry_after"), None);
}

#[tokio::test]
async fn a_time_to_come_back_that_is_none_is_a_second_and_one_in_an_old_form_is_counted() {
    let date = "date: Fri, 20 Nov 2037 13:54:30 GMT";
    for (told, seconds) in [("soon GMT", 1), ("Fri Nov 20 13:54:33 2037", 3), ("0", 1), ("-7", 1), ("7", 7)] {
        let busy = format!("HTTP/1.1 429 Slow\r\n{date}\r\nretry-after: {told}\r\ncontent-length: 0\r\n\r\n");
        let answer = get(gateway([Source::get("user", url(answers(busy).await)).required()]).await, "/u1").await;
        assert_eq!(answer.headers["retry-after"], seconds.to_string(), "{told}");
        assert_eq!(answer.json()["retry_after"], seconds, "{told}");
    }
}

#[tokio::test]
async fn a_401_comes_with_its_challenge() {
    let users = answers("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n").await;
    let answer = get(gateway([Source::get("user", url(users)).required()]).await, "/u1").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn the_deadline_of_the_request_ends_calls_that_would_have_more_time() {
    let aggregate = Aggregate::new(client(), [Source::get("user", url(silent().await)).required().within(PATIENCE)]);
    let app = Router::new().route("/{user}", get_service(aggregate.unwrap())).layer(map_request(
        |mut request: Request| async {
            Deadline::after(ms(100)).tighten(request.extensions_mut());
            request
        },
    ));
    let answer = get(service(app).await, "/u1").await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &json!("deadline")));

    let aggregate = Aggregate::new(client(), [Source::get("user", url(silent().await)).within(PATIENCE)]);
    let answer = get(serving(aggregate.unwrap().within(ms(100))).await, "/u1").await;
    assert_eq!(answer.json()["_meta"]["sources"]["user"]["cause"], "deadline");
}

#[tokio::test]
async fn when_the_client_goes_so_do_all_calls() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let watching = raw(move |mut stream| {
        let events = events.clone();
        async move {
            head(&mut stream).await;
            let _ = events.send("asked");
            let _ = stream.read(&mut [0; 16]).await;
            let _ = events.send("closed");
        }
    })
    .await;
    let gateway = gateway(["a", "b", "c"].map(|name| Source::get(name, url(watching)).within(PATIENCE * 6))).await;

    let stream = connect_and_send(gateway, "GET /u1 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    for _ in 0..3 {
        assert_eq!(timeout(PATIENCE, seen.recv()).await.expect("in time"), Some("asked"));
    }
    drop(stream);
    for _ in 0..3 {
        assert_eq!(timeout(PATIENCE, seen.recv()).await.expect("in time"), Some("closed"));
    }
}

#[tokio::test]
async fn only_listed_fields_go_to_the_sources() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let users = raw(move |mut stream| {
        let heads = heads.clone();
        async move { _ = heads.send(head(&mut stream).await) }
    })
    .await;
    let aggregate = Aggregate::new(client(), [Source::get("user", url(users))]).unwrap();
    let gateway = serving(aggregate.forward([HeaderName::from_static("x-tenant-id")])).await;
    let request = http::Request::get(format!("http://{gateway}/u1"))
        .header("authorization", "secret")
        .header("cookie", "secret")
        .header("x-tenant-id", "acme")
        .header("x-request-id", "r1")
        .header("traceparent", "t");
    send(request.body(Body::empty()).unwrap()).await;
    let head = seen.recv().await.unwrap();
    assert!(!head.contains("secret"), "{head}");
    for field in [
        "x-tenant-id: acme",
        "x-request-id: r1",
        "traceparent: t",
        "accept: application/json",
        "accept-encoding: identity",
    ] {
        assert!(head.contains(field), "{head}");
    }
}

#[tokio::test]
async fn the_sources_learn_our_request_id_and_no_strangers() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let users = raw(move |mut stream| {
        let heads = heads.clone();
        async move { _ = heads.send(head(&mut stream).await) }
    })
    .await;
    let ids = RequestIdLayer::new().header(HeaderName::from_static("x-correlation-id"));
    let aggregate = Aggregate::new(client(), [Source::get("user", url(users))]).unwrap();
    let gateway = service(Router::new().route("/{user}", get_service(aggregate)).layer(ids)).await;
    let request = http::Request::get(format!("http://{gateway}/u1")).header("x-request-id", "stranger");
    let answer = send(request.body(Body::empty()).unwrap()).await;
    let id = answer.headers["x-correlation-id"].to_str().unwrap();
    let head = seen.recv().await.unwrap();
    assert!(head.contains(&format!("x-request-id: {id}\r\n")) && !head.contains("stranger"), "{head}");
}

#[tokio::test]
async fn an_answer_varies_with_the_fields_that_made_it() {
    let aggregate = Aggregate::new(client(), [Source::get("user", url(saying("{}").await))]).unwrap();
    let forwarding = ["x-tenant-id", "accept-language", "traceparent"].map(HeaderName::from_static);
    let public = HeaderValue::from_static("public, max-age=60");
    let answer = get(serving(aggregate.clone().forward(forwarding).cache_control(public)).await, "/u1").await;
    assert_eq!(answer.headers.get_all("vary").iter().collect::<Vec<_>>(), ["x-tenant-id", "accept-language"]);
    assert!(!get(serving(aggregate).await, "/u1").await.headers.contains_key("vary"));
}

#[tokio::test]
async fn no_parameter_leaves_its_place_in_a_url() {
    let users = Router::new()
        .route(
            "/users/{user}/profile",
            on_get(|Path(user): Path<String>| async move { json!({ "user": user }).to_string() }),
        )
        .fallback(|| async { "escaped" });
    let gateway =
        gateway([Source::get("user", format!("http://{}/users/{{user}}/profile", service(users).await))]).await;
    for (sent, arrives) in [
        ("a%2Fb", "a/b"),
        ("a%3Fb%23c", "a?b#c"),
        ("%2F", "/"),
        ("u%252F1", "u%2F1"),
        ("%0D%0Ahost:%20x", "\r\nhost: x"),
        ("...", "..."),
    ] {
        let answer = get(gateway, &format!("/{sent}")).await;
        assert_eq!(answer.json()["user"]["user"], arrives, "{}", answer.body);
    }
    for sent in ["..", ".", "%2e%2E", "%2e", "..%2F..%2Fadmin", "x%2F..%2Fadmin", "..%5Cadmin", "..;", "%FF"] {
        // Sent as bytes: a client would tidy these up.
        let request = format!("GET /{sent} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = rest(&mut connect_and_send(gateway, &request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{sent}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn how_the_sources_went_stands_where_it_is_told_to() {
    let broken = answers("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await;
    let with = |meta| Aggregate::new(client(), [Source::get("user", url(broken))]).unwrap().meta(meta).unwrap();
    let answer = get(serving(with(Meta::Member("status".into()))).await, "/u1").await;
    assert_eq!(answer.json()["status"]["sources"]["user"]["cause"], "500");
    let answer = get(serving(with(Meta::Header)).await, "/u1").await;
    assert_eq!((&*answer.body, &answer.headers["x-bartizan-complete"]), ("{}", &HeaderValue::from_static("?0")));
    let answer = get(serving(with(Meta::Off)).await, "/u1").await;
    assert_eq!((&*answer.body, answer.headers.get("x-bartizan-complete")), ("{}", None));
}

#[tokio::test]
async fn a_complete_answer_may_be_kept_as_configured_and_a_partial_one_never() {
    let kept = |sources: Vec<Source>| {
        Aggregate::new(client(), sources).unwrap().cache_control(HeaderValue::from_static("private, max-age=5"))
    };
    let user = Source::get("user", url(saying("{}").await));
    let answer = get(serving(kept(vec![user.clone()])).await, "/u1").await;
    assert_eq!(answer.headers["cache-control"], "private, max-age=5");
    let answer = get(serving(kept(vec![user, Source::get("dead", url(dead().await))])).await, "/u1").await;
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_parameter_that_the_route_lacks_is_our_mistake() {
    let gateway = gateway([Source::get("user", "http://127.0.0.1:1/{customer}")]).await;
    assert_eq!(get(gateway, "/u1").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_mistake_in_an_aggregate_is_found_when_it_is_made() {
    let get = |name: &str| Source::get(name, "http://h/");
    let cases: Vec<(Vec<Source>, &str)> = vec![
        (
            vec![Source::get("a", "http://h/{user")],
            r#"source "a": the URL "http://h/{user" can't be used: this '{' is never closed (byte 9)"#,
        ),
        (vec![get("a"), get("a")], r#"source "a": another source has the same name"#),
        (vec![get("a"), get("b").group("a")], r#"source "b": it writes "a", which the source "a" writes too"#),
        (
            vec![get("a").allow(["x", "id.y"]).inline(), get("b").allow(["z"]).rename("z", "id").inline()],
            r#"source "b": it writes "id", which the source "a" writes too"#,
        ),
        (vec![get("a").group("_meta")], r#"source "a": it writes "_meta", which the aggregate itself writes too"#),
        (vec![get("a").allow([""; 0])], r#"source "a": `allow` lists no field, so nothing of it would be left"#),
        (vec![get("a").inline()], r#"source "a": its fields are inlined, so they have to be listed with `allow`"#),
        (vec![get("a").collection().inline()], r#"source "a": a collection is an array and can't be inlined"#),
        (vec![get("a").allow(["x"]).rename("y", "z")], r#"source "a": a field is renamed that `allow` does not list"#),
        (
            vec![get("a").allow(["x", "y"]).rename("x", "y")],
            r#"source "a": a field is given the name of another that `allow` lists"#,
        ),
        (vec![get("a").rename("x", "z").rename("y", "z")], r#"source "a": two fields are given the same new name"#),
        (vec![get("a").rename("x", "y").rename("x", "z")], r#"source "a": a field is renamed twice"#),
    ];
    for (sources, message) in cases {
        let error = Aggregate::new(client(), sources).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    assert!(Aggregate::new(client(), [get("a").allow(["x", "y"]).rename("x", "y").rename("y", "x").inline()]).is_ok());
}
