//! What `Idempotency-Key` does, the caller's or one that is made.

use super::{
    support::{Say, Upstream, ask, get, post},
    *,
};
use http::{HeaderName, HeaderValue};

#[tokio::test(start_paused = true)]
async fn a_key_makes_a_post_one_that_may_be_sent_twice() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(201)]);
    let mut request = post();
    request.headers_mut().insert("idempotency-key", "\"a\"".parse().unwrap());
    let answer = ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(upstream.bodies(), ["order", "order"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_once_for_all_attempts_of_a_request() {
    let layer = RetryLayer::new(THREE).idempotency_keys();
    let keys = |upstream: &Upstream| upstream.fields("idempotency-key");
    let upstream = Upstream::answering([Say::Status(503), Say::Status(503), Say::Status(201)]);
    ask(&layer, &upstream, post()).await.unwrap();
    let first = keys(&upstream);
    assert_eq!((first.len(), first[0].len()), (3, 34));
    assert!(first[0].starts_with('"') && first.iter().all(|key| *key == first[0]));
    let upstream = Upstream::answering([Say::Status(201)]);
    ask(&layer, &upstream, post()).await.unwrap();
    assert_ne!(keys(&upstream)[0], first[0]);
    let upstream = Upstream::answering([Say::Status(200)]);
    ask(&layer, &upstream, get()).await.unwrap();
    assert_eq!(keys(&upstream), [""]);
}

/// A method that we do not know may be anything: a key would not make it one that may be sent twice.
#[tokio::test(start_paused = true)]
async fn keys_are_made_for_post_and_patch_alone() {
    for (method, calls) in [("POST", 2), ("PATCH", 2), ("LOCK", 1), ("MKCOL", 1), ("CONNECT", 1)] {
        let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
        let request = Request::builder().method(method).body(Full::from("order")).unwrap();
        ask(&RetryLayer::new(THREE).idempotency_keys(), &upstream, request).await.unwrap();
        assert_eq!(upstream.calls(), calls, "{method}");
        assert_eq!(upstream.fields("idempotency-key")[0].is_empty(), calls == 1, "{method}");
    }
}

/// What no server can tell from another request's key protects nothing: an empty one, and one of several.
#[tokio::test(start_paused = true)]
async fn a_key_of_nothing_and_one_of_several_make_no_post_one_that_may_be_sent_twice() {
    let cases: [&[&str]; 8] =
        [&[""], &["  "], &["\t"], &["\"\""], &["\" \""], &["", ""], &["\"a\"", "\"b\""], &["", "\"a\""]];
    for lines in cases {
        for others in [0, 60] {
            let upstream = Upstream::answering([Say::Status(503), Say::Status(201)]);
            let mut request = with_keys(lines);
            for other in 0..others {
                let name = HeaderName::try_from(format!("x-other-{other}")).unwrap();
                request.headers_mut().insert(name, HeaderValue::from_static("1"));
            }
            ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
            assert_eq!(upstream.calls(), 1, "{lines:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_nothing_gives_way_to_one_that_is_made() {
    let layer = RetryLayer::new(THREE).idempotency_keys();
    let cases: [&[&str]; 4] = [&[""], &[" \t"], &["\"\""], &["", " "]];
    for lines in cases {
        let upstream = Upstream::answering([Say::Status(503), Say::Status(201)]);
        ask(&layer, &upstream, with_keys(lines)).await.unwrap();
        assert_eq!(upstream.calls(), 2, "{lines:?}");
        for head in upstream.heads() {
            let keys: Vec<_> = head.headers.get_all("idempotency-key").iter().map(HeaderValue::len).collect();
            assert_eq!(keys, [34], "{lines:?}");
        }
    }
}

/// Which of several keys the server takes, if any, only its caller may know: one in their place would be a new request.
#[tokio::test(start_paused = true)]
async fn of_several_keys_none_is_replaced() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(201)]);
    let layer = RetryLayer::new(THREE).idempotency_keys();
    ask(&layer, &upstream, with_keys(&["\"a\"", "\"b\""])).await.unwrap();
    let heads = upstream.heads();
    let keys: Vec<_> = heads[0].headers.get_all("idempotency-key").iter().map(|key| key.to_str().unwrap()).collect();
    assert_eq!((keys.as_slice(), heads.len()), (["\"a\"", "\"b\""].as_slice(), 1));
}

fn with_keys(lines: &[&str]) -> Request<Full<Bytes>> {
    let mut request = post();
    for line in lines {
        request.headers_mut().append("idempotency-key", line.parse().unwrap());
    }
    request
}
