//! `QUERY` (RFC 10008): cached by what it asks for.

use super::support::*;
use crate::cache::{CacheKey, CachePolicy, Purge, Query, QueryBody, QueryLayer};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};
use tower::{limit::ConcurrencyLimit, service_fn};
use tower_layer::Layer;

/// What the origin was asked: the head, and what came of the content and how it ended.
type Seen = Arc<Mutex<Vec<(request::Parts, String)>>>;

/// Answers with what was asked for, after a second; an answer has the field that `names` says.
fn searching<B>(
    layer: &crate::cache::CacheLayer,
    field: (&'static str, &'static str),
) -> (
    Seen,
    Query<
        crate::cache::Cache<
            impl tower_service::Service<
                Request<QueryBody<B>>,
                Response = Response<Full<Bytes>>,
                Error = Infallible,
                Future: Send,
            > + Clone
            + Send
            + 'static,
        >,
    >,
)
where
    B: Body<Error: fmt::Debug + Send> + Send + 'static,
{
    let seen = Seen::default();
    let sees = Arc::clone(&seen);
    let service = service_fn(move |request: Request<QueryBody<B>>| {
        let sees = Arc::clone(&sees);
        async move {
            let (head, body) = request.into_parts();
            let mut body = Box::pin(body);
            let mut text = String::new();
            while let Some(frame) = body.frame().await {
                match frame.map(Frame::into_data) {
                    Ok(Ok(data)) => text.push_str(std::str::from_utf8(&data).unwrap()),
                    Ok(Err(_)) => text.push_str(" trailers"),
                    Err(error) => text.push_str(&format!(" {error:?}")),
                }
            }
            let mut answer = Response::new(Full::from(text.clone()));
            sees.lock().unwrap().push((head, text));
            sleep(Duration::from_secs(1)).await;
            answer.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
            answer.headers_mut().insert(field.0, field.1.parse().unwrap());
            Ok(answer)
        }
    });
    (seen, QueryLayer::new(10).layer(layer.layer(service)))
}

fn asking(content: &'static str) -> Ask {
    request("QUERY", "/").map(|_| Full::from(content))
}

const PLAIN: (&str, &str) = ("x-plain", "1");

#[tokio::test(start_paused = true)]
async fn a_query_is_answered_from_what_is_stored_for_what_it_asks_for() {
    let (seen, search) = searching(&layer(), PLAIN);
    let rows: [fn() -> Ask; 13] = [
        || asking("shoes"),
        || asking("hats"),
        || asking(""),
        || asking("shoes").with("content-type", "text/plain"),
        || asking("shoes").with("content-encoding", "x"),
        || asking("shoes").with("content-language", "x"),
        || asking("shoes").with("content-language", "x").with("content-language", "y"),
        || asking("shoes").with("content-language", "x, y"),
        || asking("shoes").with("content-location", "/x"),
        || asking("shoes").with("content-range", "bytes 0-4/9"),
        || asking("shoes").with("content-type", ""),
        || asking("shoes").with("content-none-of-ours", "x"),
        || asking("shoes").with("x-kind", "1").with("content-type", "text/plain; charset=utf-8"),
    ];
    for nth in 0..2 {
        for row in rows {
            let answer = send(&search, row()).await;
            assert_eq!(answer.is_hit(), nth == 1, "{:?}", row());
            let asked = row().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(answer.body, Some(asked));
        }
    }
    assert_eq!(seen.lock().unwrap().len(), rows.len());
    // Their order counts within a name, and how long the content is goes without saying.
    let again = asking("shoes").with("content-length", "5").with("content-language", "x").with("content-language", "y");
    assert!(send(&search, again).await.is_hit());
    // What is stored for it is nothing to who only names the URL, nor the other way round.
    assert!(!send(&search, get("/")).await.is_hit());
    assert!(send(&search, get("/")).await.is_hit());
    assert_eq!(send(&search, request("HEAD", "/")).await.said(), "hit; ttl=59");
}

#[tokio::test(start_paused = true)]
async fn many_queries_at_once_reach_the_origin_once_for_each_content() {
    let (seen, search) = searching(&layer(), PLAIN);
    let all: Vec<_> = (0..20)
        .map(|nth| {
            let search = search.clone();
            tokio::spawn(async move { send(&search, asking(if nth % 2 == 0 { "shoes" } else { "hats" })).await })
        })
        .collect();
    for (nth, one) in all.into_iter().enumerate() {
        assert_eq!(one.await.unwrap().text(), if nth % 2 == 0 { "shoes" } else { "hats" });
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn conditions_and_what_it_varies_by_count_for_a_query_as_for_a_get() {
    let (seen, search) = searching(&layer(), ("etag", "\"e\""));
    send(&search, asking("shoes").with("if-none-match", "\"x\"")).await;
    assert!(!seen.lock().unwrap()[0].0.headers.contains_key("if-none-match"), "the whole is asked for");
    let told = send(&search, asking("shoes").with("if-none-match", "\"e\"")).await;
    assert_eq!((told.status.as_u16(), told.is_hit()), (304, true));
    // After that it is validated, with its content.
    pass(60).await;
    send(&search, asking("shoes")).await;
    let (head, text) = seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!((head.headers["if-none-match"].to_str().unwrap(), &*text), ("\"e\"", "shoes"));

    let (_, search) = searching(&layer(), ("vary", "x-kind"));
    send(&search, asking("shoes").with("x-kind", "a")).await;
    assert!(send(&search, asking("shoes").with("x-kind", "a")).await.is_hit());
    let other = send(&search, asking("shoes").with("x-kind", "b")).await;
    assert_eq!(other.said(), "fwd=vary-miss; stored; ttl=59");
}

#[tokio::test(start_paused = true)]
async fn a_query_changes_nothing_and_goes_with_its_url() {
    let layer = layer();
    let (_, search) = searching(&layer, ("cache-tag", "t"));
    send(&search, get("/")).await;
    send(&search, asking("shoes")).await;
    assert!(send(&search, get("/")).await.is_hit() && send(&search, asking("shoes")).await.is_hit());
    let url = || CacheKey::url("http://a.example/").unwrap();
    for purge in [Purge::url(url()), Purge::prefix(url()), Purge::tag("t"), Purge::everything()] {
        cache_of(&layer).purge(&purge);
        assert!(!send(&search, asking("shoes")).await.is_hit(), "{purge:?}");
    }
    send(&search, request("PUT", "/")).await;
    assert!(!send(&search, asking("shoes")).await.is_hit(), "it is of what has changed");
}

/// RFC 5861: the refresh asks for the same, though nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_query_that_is_refreshed_behind_is_asked_with_its_content() {
    let policy = CachePolicy::new().stale_while_revalidate(Duration::from_secs(60));
    let (seen, search) = searching(&layer().policy(policy), PLAIN);
    send(&search, asking("shoes")).await;
    pass(70).await;
    assert_eq!(send(&search, asking("shoes")).await.said(), "hit; ttl=-11");
    pass(2).await;
    assert_eq!(send(&search, asking("shoes")).await.said(), "hit; ttl=58");
    assert_eq!(seen.lock().unwrap().last().unwrap().1, "shoes");
}

struct Frames(VecDeque<Result<Frame<Bytes>, Broken>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// Content in pieces, and what comes after it.
fn in_pieces(pieces: &[&'static str], end: Option<Result<Frame<Bytes>, Broken>>) -> Request<Frames> {
    let pieces = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    request("QUERY", "/").map(|_| Frames(pieces.chain(end).collect()))
}

#[tokio::test(start_paused = true)]
async fn content_in_pieces_is_one_content() {
    let (seen, search) = searching(&layer(), PLAIN);
    for (pieces, is_hit) in [(&["sh", "", "oes"][..], false), (&["shoe", "s"], true), (&["shoes", ""], true)] {
        assert_eq!(send(&search, in_pieces(pieces, None)).await.is_hit(), is_hit);
    }
    assert_eq!(seen.lock().unwrap()[0].1, "shoes");
}

/// What comes is a slice of a buffer that is held with it: thousands of them would hold thousands of buffers.
#[tokio::test(start_paused = true)]
async fn content_of_which_each_byte_comes_alone_is_held_in_one_piece() {
    let service = service_fn(async |request: Request<QueryBody<Frames>>| {
        let mut body = request.into_body();
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap());
        }
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.len().to_string()).collect();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(lengths.join(" "))))
    });
    let reads = QueryLayer::new(4000).layer(service);
    for (bytes, pieces) in [(4000, "4000"), (4001, "4000 1"), (4003, "4000 1 1 1")] {
        assert_eq!(send(&reads, in_pieces(&vec!["a"; bytes], None)).await.text(), pieces);
    }
    // What is too long with its last piece is not held twice.
    let long: &str = "a".repeat(5000).leak();
    assert_eq!(send(&reads, in_pieces(&["a", "b", long, "c"], None)).await.text(), "2 5000 1");
}

/// Content of which a piece comes each second.
struct Slow(Frames, Pin<Box<Sleep>>);

impl Body for Slow {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        ready!(self.1.as_mut().poll(cx));
        self.1 = Box::pin(sleep(Duration::from_secs(1)));
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_in_what_it_asks_for_is_left_to_the_service() {
    let slow = |pieces| in_pieces(pieces, None).map(|frames| Slow(frames, Box::pin(sleep(Duration::from_secs(1)))));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let service = service_fn(move |request: Request<QueryBody<Slow>>| {
        sees.lock().unwrap().push((request.body().size_hint().lower(), Instant::now()));
        async move { Ok::<_, Broken>(Response::new(Full::<Bytes>::from(request.into_body().collect().await?.to_bytes()))) }
    });
    let cached = layer().layer(service);
    let soon = QueryLayer::new(100).read_within(Duration::from_millis(3500));
    for (reads, seconds, read) in [(soon, 3, 3), (QueryLayer::new(100), 30, 29)] {
        let begun = Instant::now();
        let answer = send(&reads.layer(cached.clone()), slow(&["a"; 60])).await;
        // All of it comes, though only some of it had been read.
        assert_eq!((answer.text().len(), answer.said().as_str()), (60, "fwd=bypass; detail=not-read"));
        let (was_read, at) = seen.lock().unwrap().pop().unwrap();
        assert_eq!(((at - begun).as_secs(), was_read), (seconds, read));
    }
    // Who is in time is read.
    let reads = QueryLayer::new(100).layer(cached);
    assert_eq!(send(&reads, slow(&["a"; 20])).await.text().len(), 20);
    assert_eq!(seen.lock().unwrap().pop().unwrap().0, 20);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_key_passes_by_with_all_that_came() {
    let trailers = || Some(Ok(Frame::trailers(HeaderMap::new())));
    let (seen, search) = searching(&layer(), PLAIN);
    for (pieces, end, text) in [
        (&["123456789", "0"][..], None, "1234567890"),
        (&["123456789", "01"], None, "12345678901"),
        (&["12345678901", "2", "3"], trailers(), "1234567890123 trailers"),
        (&["shoes"], trailers(), "shoes trailers"),
        (&["sho"], Some(Err(Broken)), "sho Broken"),
    ] {
        let is_kept = text == "1234567890";
        let again = end.is_none().then(|| in_pieces(pieces, None));
        let answer = send(&search, in_pieces(pieces, end)).await;
        assert_eq!(answer.said() == "fwd=bypass; detail=not-read", !is_kept, "{text}: {}", answer.said());
        assert_eq!(seen.lock().unwrap().last().unwrap().1, text);
        if let Some(again) = again {
            assert_eq!(send(&search, again).await.is_hit(), is_kept);
        }
    }
    let (_, search) = searching(&layer(), PLAIN);
    for long in ["123456789012345", "shoes"] {
        let answer = send(&search, asking(long)).await;
        assert_eq!(answer.said() == "fwd=bypass; detail=not-read", long.len() > 10);
    }
    let rows: [fn() -> Ask; 3] = [
        || asking("shoes").with("range", "bytes=0-1"),
        || asking("shoes").with("if-match", "\"e\""),
        || asking("shoes").with("content-type", "a/b").with("content-type", "a/c"),
    ];
    for row in rows {
        let said = send(&search, row()).await.said();
        assert!(said == "fwd=bypass" || said == "fwd=bypass; detail=not-read", "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_that_wants_only_what_is_stored_never_reaches_the_origin() {
    let (seen, search) = searching(&layer(), PLAIN);
    let only = || asking("shoes").with("cache-control", "only-if-cached");
    assert_eq!(send(&search, only()).await.status.as_u16(), 504);
    assert_eq!(seen.lock().unwrap().len(), 0);
    send(&search, asking("shoes")).await;
    assert_eq!(send(&search, only()).await.text(), "shoes");
}

/// RFC 9110 §10.1.1: who reads the content tells the client to send it, which is for whoever answers to do.
#[tokio::test(start_paused = true)]
async fn content_that_the_client_waits_to_send_is_not_read() {
    let (seen, search) = searching(&layer(), PLAIN);
    for _ in 0..2 {
        let waits = || asking("shoes").with("expect", "100-continue");
        assert_eq!(send(&search, waits()).await.said(), "fwd=bypass; detail=not-read");
        assert_eq!(seen.lock().unwrap().pop().unwrap().1, "shoes");
    }
    struct Unasked;
    impl Body for Unasked {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            panic!("nobody has asked for it")
        }
    }
    let refuses = service_fn(async |_: Request<QueryBody<Unasked>>| {
        Ok::<_, Infallible>(Response::builder().status(417).body(Full::<Bytes>::default()).unwrap())
    });
    let waits = request("QUERY", "/").with("expect", "100-continue").map(|_| Unasked);
    assert_eq!(send(&QueryLayer::new(10).layer(refuses), waits).await.status.as_u16(), 417);
}

/// Without the layer that reads it, a cache has no part in it.
#[tokio::test(start_paused = true)]
async fn a_query_that_nobody_has_read_passes_by() {
    let origin = Origin::new(|_, _| fresh(60));
    let cache = cache(&origin);
    for _ in 0..2 {
        assert_eq!(send(&cache, asking("shoes")).await.said(), "fwd=bypass; detail=not-read");
    }
    assert_eq!(origin.asked(), 2);
    // RFC 9111 §5.2.1.7: who wants only what is stored does not want the origin to be asked.
    let only = send(&cache, asking("shoes").with("cache-control", "only-if-cached")).await;
    assert_eq!((only.status.as_u16(), origin.asked()), (504, 2));
    // Of another method that changes nothing a cache has no answer in any case.
    let other = send(&cache, request("OPTIONS", "/").with("cache-control", "only-if-cached")).await;
    assert_eq!((other.said().as_str(), origin.asked()), ("fwd=method", 3));
}

/// The service that was made ready is the one that is called, however long the reading takes.
#[tokio::test(start_paused = true)]
async fn over_a_limit_of_one_all_queries_are_answered() {
    let service = service_fn(async |request: Request<QueryBody<Full<Bytes>>>| {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let limited = QueryLayer::new(10).layer(ConcurrencyLimit::new(service, 1));
    let all: Vec<_> = ["shoes", "hats and much more", ""]
        .map(|content| {
            let limited = limited.clone();
            tokio::spawn(async move { assert_eq!(send(&limited, asking(content)).await.text(), content) })
        })
        .into();
    for one in all {
        one.await.unwrap();
    }
}
