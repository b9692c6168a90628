//! Bodies of a cache, as a server sees them.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use super::*;
use crate::cache::fill::{Abandoned, Fill, Plan, on_current_runtime};
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use std::{future::ready, io, mem::size_of};

type Of = CacheBody<Full<Bytes>>;

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))])
}

async fn bytes<B: Body<Error: Into<Box<dyn Error + Send + Sync>>>>(body: CacheBody<B>) -> Bytes {
    let said = body.size_hint().exact();
    let bytes = body.collect().await.unwrap().to_bytes();
    assert_eq!(said, Some(bytes.len() as u64));
    bytes
}

/// It is moved through every layer further out.
#[test]
fn a_body_is_small() {
    assert!(size_of::<CacheBody<axum::body::Body>>() <= 40);
    assert_eq!(size_of::<CacheBody<[usize; 10]>>(), size_of::<[usize; 11]>());
}

#[tokio::test]
async fn the_body_of_the_inner_service_passes() {
    let body = Of::inner(Full::new(Bytes::from_static(b"its own")));
    assert!(!body.is_end_stream());
    assert_eq!(bytes(body).await, "its own");
    assert!(Of::inner(Full::default()).is_end_stream());
}

#[tokio::test]
async fn the_trailers_and_the_error_of_the_inner_service_pass() {
    let inner = Full::new(Bytes::from_static(b"one")).with_trailers(ready(Some(Ok(trailers()))));
    assert_eq!(CacheBody::inner(inner).collect().await.unwrap().trailers(), Some(&trailers()));
    let failed = CacheBody::inner(Failing).collect().await;
    assert_eq!(failed.unwrap_err().to_string(), "cut");
}

struct Failing;

impl Body for Failing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::Error::other("cut"))))
    }
}

#[tokio::test]
async fn what_is_stored_is_sent_as_it_lies() {
    let stored = Bytes::from(vec![7; 1000]);
    let body = Of::stored(stored.clone());
    assert!(!body.is_end_stream());
    let sent = bytes(body).await;
    assert_eq!(sent.as_ptr(), stored.as_ptr());
}

#[tokio::test]
async fn an_empty_body_is_over_before_it_began() {
    let empty = [
        Of::default(),
        Of::stored(Bytes::new()),
        Of::with_trailers(Bytes::new(), None),
        Of::pieces(Vec::new()),
        Of::pieces(vec![Bytes::new()]),
    ];
    for body in empty {
        assert!(body.is_end_stream());
        assert!(bytes(body).await.is_empty());
    }
}

#[tokio::test]
async fn pieces_come_in_their_order_and_end_with_the_last() {
    let mut body = Of::pieces(["one ", "", "two"].map(Bytes::from).to_vec());
    assert_eq!(body.size_hint().exact(), Some(7));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
    assert_eq!(body.size_hint().exact(), Some(3));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn stored_trailers_follow_the_stored_bytes() {
    for stored in [Bytes::new(), Bytes::from_static(b"all")] {
        let body = Of::with_trailers(stored.clone(), Some(trailers()));
        assert!(!body.is_end_stream());
        // Exact, it would become a `Content-Length`, after which HTTP/1.1 has no place for trailers.
        assert_eq!((body.size_hint().exact(), body.size_hint().lower()), (None, stored.len() as u64));
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers()));
        assert_eq!(collected.to_bytes(), stored);
    }
}

#[tokio::test]
async fn what_is_being_stored_is_read_along() {
    let plan = Plan { expected: None, limit: 100, abandoned: Abandoned::Drop, spawn: on_current_runtime() };
    let (_fill, reader) = Fill::start(Full::new(Bytes::from_static(b"all")), plan, |_| {});
    assert_eq!(bytes(Of::reader(reader)).await, "all");
}
