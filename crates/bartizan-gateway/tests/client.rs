//! The plain client: which connections it uses again, and which never.

mod support;

use axum::body::Body;
use bartizan_gateway::{Cause, Client, client};
use http::Request;
use http_body_util::BodyExt;
use std::net::SocketAddr;
use support::{
    upstream::Seen,
    wire::{Origin, Said, Then, ok},
    *,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};

/// A service that answers as many requests on a connection as `lasts` says, and counts connections and requests.
async fn counting(lasts: usize) -> (SocketAddr, Seen, Seen) {
    let (connections, requests) = (Seen::default(), Seen::default());
    let counted = (connections.clone(), requests.clone());
    let addr = raw(move |mut stream| {
        let (connections, requests) = counted.clone();
        async move {
            connections.add();
            for _ in 0..lasts {
                if head(&mut stream).await.is_empty() {
                    return;
                }
                requests.add();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (addr, connections, requests)
}

fn request(addr: SocketAddr) -> Request<Body> {
    Request::post(format!("http://{addr}/")).body(Body::from("x")).expect("a request")
}

async fn ask(client: &Client, addr: SocketAddr) -> String {
    let response = timeout(PATIENCE, client.request(request(addr))).await.expect("in time").expect("an answer");
    String::from_utf8(response.into_body().collect().await.expect("a body").to_bytes().to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn one_connection_carries_one_request_after_the_other() {
    let (addr, connections, _) = counting(usize::MAX).await;
    let client = client();
    let clone = client.clone();
    for _ in 0..5 {
        // Its request has no body, so nothing is left of it on the wire.
        let get = Request::get(format!("http://{addr}/")).body(Body::empty()).unwrap();
        let response = client.request(get).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        // Real time: its task has to see that the connection is free.
        sleep(ms(5)).await;
        let get = Request::get(format!("http://{addr}/")).body(Body::empty()).unwrap();
        clone.request(get).await.unwrap().into_body().collect().await.unwrap();
        sleep(ms(5)).await;
    }
    assert_eq!(connections.count(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nobody_a_request() {
    let (close, closing) = watch::channel(false);
    let seen = Seen::default();
    let counted = seen.clone();
    let addr = raw(move |mut stream| {
        let (mut closing, counted) = (closing.clone(), counted.clone());
        async move {
            head(&mut stream).await;
            tokio::io::AsyncReadExt::read_u8(&mut stream).await.expect("the body");
            counted.add();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = closing.wait_for(|closing| *closing).await;
        }
    })
    .await;
    let client = client();
    for _ in 0..2 {
        assert_eq!(ask(&client, addr).await, "ok");
        sleep(ms(5)).await; // real time: until it waits in the pool
        close.send_replace(true);
        // Whether or not the client has heard of it by now, a POST is sent once.
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&client, addr).await, "ok");
    assert_eq!(seen.count(), 3);
}

#[tokio::test]
async fn a_body_that_nobody_reads_takes_its_connection_with_it() {
    let long = raw(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        assert_eq!(rest(&mut stream).await, "", "it is closed, and nothing more is asked on it");
        let _ = stream.shutdown().await;
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let get = Request::get(format!("http://{long}/")).body(Body::empty()).unwrap();
        let response = timeout(PATIENCE, client.request(get)).await.expect("in time").expect("an answer");
        assert_eq!(response.headers()["content-length"], "9");
    }
}

#[tokio::test]
async fn a_connection_whose_request_is_still_being_sent_is_nobody_elses() {
    let early = raw(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        rest(&mut stream).await;
    })
    .await;
    let client = client();
    for _ in 0..2 {
        let body = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let post = Request::post(format!("http://{early}/")).body(body).unwrap();
        let response = timeout(PATIENCE, client.request(post)).await.expect("in time").expect("an answer");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_us_before_servers_do() {
    let (closed, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let addr = raw(move |mut stream| {
        let closed = closed.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            rest(&mut stream).await;
            let _ = closed.send(());
        }
    })
    .await;
    let client = client();
    client.request(Request::get(format!("http://{addr}/")).body(Body::empty()).unwrap()).await.unwrap();
    // Real time, four seconds of it: sockets know no other.
    timeout(PATIENCE, seen.recv()).await.expect("closed by the client").unwrap();
}

#[tokio::test]
async fn an_error_says_whether_anything_was_done() {
    let failed = async |uri: String| {
        let get = Request::get(uri).body(Body::empty()).unwrap();
        timeout(PATIENCE, client().request(get)).await.expect("in time").expect_err("no answer")
    };
    for (uri, cause, is_not_processed) in [
        (format!("http://{}/", dead().await), Cause::Connect, true),
        (format!("http://{}/", resets().await), Cause::ConnectionReset, false),
        ("https://127.0.0.1/".to_owned(), Cause::Other, true),
        ("/".to_owned(), Cause::Other, true),
    ] {
        let error = failed(uri.clone()).await;
        assert_eq!((error.cause(), error.is_not_processed()), (cause, is_not_processed), "{uri}: {error}");
    }
}

/// What becomes of a request on a connection that has carried one before, and that the service does this to.
async fn sent_on_a_kept_connection(request: Request<Body>, does: Said) -> (Result<String, Cause>, usize) {
    let origin = Origin::new(move |number, _| if number == 1 { does.clone() } else { ok("", "ok") }).await;
    let client = client();
    let to = |mut request: Request<Body>| {
        *request.uri_mut() = format!("http://{}/", origin.addr).parse().expect("a URL");
        client.request(request)
    };
    to(Request::new(Body::empty())).await.expect("an answer").into_body().collect().await.expect("a body");
    sleep(ms(5)).await; // real time: until it waits in the pool
    let answer = match timeout(PATIENCE, to(request)).await.expect("in time") {
        Ok(answer) => {
            Ok(String::from_utf8(answer.into_body().collect().await.expect("a body").to_bytes().to_vec())
                .expect("UTF-8"))
        }
        Err(error) => {
            assert!(!error.is_not_processed(), "{error}");
            Err(error.cause())
        }
    };
    (answer, origin.count() - 1)
}

fn empty(method: &str) -> Request<Body> {
    Request::builder().method(method).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_connection_that_closes_as_a_request_is_sent_costs_nobody_an_answer_if_it_may_be_sent_again() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        for then in [Then::Close, Then::Reset] {
            let (answer, sent) = sent_on_a_kept_connection(empty(method), Said::from("").then(then)).await;
            let body = if method == "HEAD" { "" } else { "ok" };
            assert_eq!((answer.as_deref(), sent), (Ok(body), 2), "{method}, {then:?}");
        }
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let body = |method: &str| Request::builder().method(method).body(Body::from("x")).expect("a request");
    for (request, bytes) in [
        (empty("POST"), ""),
        (empty("PATCH"), ""),
        (empty("FROBNICATE"), ""),
        (body("POST"), ""),
        (body("PUT"), ""),   // what was sent of it is gone
        (empty("GET"), "H"), // somebody has begun to answer
        (empty("GET"), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    ] {
        let what = format!("{} {bytes:?}", request.method());
        let (answer, sent) = sent_on_a_kept_connection(request, Said::from(bytes).then(Then::Close)).await;
        assert!(answer.is_err(), "{what}");
        assert_eq!(sent, 1, "{what}");
    }
}

#[tokio::test]
async fn a_request_that_meets_two_closing_connections_is_not_sent_a_third_time() {
    let origin = Origin::new(|number, _| match number {
        0 => ok("", "ok"),
        _ => Said::from("").then(Then::Close),
    })
    .await;
    let client = client();
    let get = || client.request(Request::get(format!("http://{}/", origin.addr)).body(Body::empty()).unwrap());
    get().await.unwrap().into_body().collect().await.unwrap();
    sleep(ms(5)).await; // real time: until it waits in the pool
    let error = timeout(PATIENCE, get()).await.expect("in time").expect_err("no answer");
    assert_eq!((error.cause(), origin.count()), (Cause::ConnectionReset, 3));
    // And on a connection that is new, it is sent once.
    timeout(PATIENCE, get()).await.expect("in time").expect_err("no answer");
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_called_undone_because_it_could_not_be_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        let done = head(&mut stream).await;
        // It has done it, and exits before it can say so.
        drop(listener);
        done
    });
    let client = client();
    let send = async |method: &str| {
        let request = Request::builder().method(method).uri(format!("http://{addr}/x")).body(Body::empty()).unwrap();
        timeout(PATIENCE, client.request(request)).await.expect("in time")
    };
    send("GET").await.unwrap().into_body().collect().await.unwrap();
    sleep(ms(5)).await; // real time: until it waits in the pool
    let error = send("DELETE").await.expect_err("no answer");
    assert!(service.await.unwrap().starts_with("DELETE /x "));
    assert!(!error.is_not_processed(), "it was: {error}");
    assert_eq!((error.cause(), error.is_connect()), (Cause::ConnectionReset, false));
    assert!(send("DELETE").await.expect_err("no answer").is_not_processed(), "nobody is there");
}
