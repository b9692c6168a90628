//! What becomes of a failed answer while its request waits for the next attempt.

use super::{
    support::{Answering, BoxError, Out, Say, Upstream, ask, get},
    *,
};
use http::Version;
use http_body::Body;
use tokio::time::sleep;
use tower::service_fn;

const MS: Duration = Duration::from_millis(1);

/// Answers 503 and asks for a second, with this body.
fn failing(version: Version, frames: Vec<Out>) -> Say {
    Say::Frames(vec![(":status", "503"), ("retry-after", "1")], version, frames)
}

/// When the failed answer was let go, after how many bytes, and when the next attempt began to be answered.
async fn let_go(version: Version, frames: Vec<Out>) -> (Duration, usize, Duration) {
    let upstream = Upstream::answering([failing(version, frames), Say::Status(200)]);
    let began = Instant::now();
    ask(&RetryLayer::new(THREE), &upstream, get()).await.unwrap();
    let (at, read) = upstream.let_go()[0];
    (at - began, read, began.elapsed())
}

/// T20: the peer holds it while it sleeps, and the connection with it.
#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_let_go_before_the_pause() {
    let (at, read, next) = let_go(Version::HTTP_2, vec![Out::Data(10), Out::Wait(1000 * MS), Out::Data(10)]).await;
    assert_eq!((at, read), (Duration::ZERO, 0), "a stream is reset");
    assert!(next >= 1000 * MS);
}

#[tokio::test(start_paused = true)]
async fn over_http_1_it_is_read_so_that_its_connection_can_be_used_again() {
    let (at, read, _) = let_go(Version::HTTP_11, vec![Out::Data(1000), Out::Wait(20 * MS), Out::Data(500)]).await;
    assert_eq!(read, 1500);
    assert!(at >= 20 * MS && at < 25 * MS);
}

#[tokio::test(start_paused = true)]
async fn it_is_read_for_a_moment_only() {
    let (at, read, _) = let_go(Version::HTTP_11, vec![Out::Data(1000), Out::Wait(800 * MS), Out::Data(500)]).await;
    assert_eq!(read, 1000);
    assert!(at >= 50 * MS && at < 55 * MS, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_read_up_to_so_many_bytes_only() {
    let (at, read, _) = let_go(Version::HTTP_11, vec![Out::Data(40_000), Out::Data(40_000), Out::Data(40_000)]).await;
    assert_eq!((at, read), (Duration::ZERO, 80_000));
    let nothing = std::iter::repeat_n(Out::Data(0), 100_000).collect();
    let (at, _, _) = let_go(Version::HTTP_11, nothing).await;
    assert_eq!(at, Duration::ZERO, "frames of nothing have an end as well");
}

#[tokio::test(start_paused = true)]
async fn reading_it_does_not_make_the_pause_longer() {
    let (_, _, next) = let_go(Version::HTTP_11, vec![Out::Data(1), Out::Wait(40 * MS), Out::Data(1)]).await;
    assert!(next >= 1000 * MS && next <= 1102 * MS, "{next:?}");
}

/// The last answer of a service that never gets ready for another attempt.
async fn last_answer(version: Version, frames: Vec<Out>) -> Response<ResponseBody<Answering>> {
    let fields = vec![
        (":status", "503"),
        ("retry-after", "1"),
        ("content-type", "text/plain"),
        ("content-length", "1500"),
        ("content-encoding", "x"),
        ("repr-digest", "x=:YQ==:"),
        ("x-own", "7"),
    ];
    let upstream = Upstream::answering([Say::Frames(fields, version, frames)]).unready_after(1);
    let mut request = get();
    Deadline::after(5000 * MS).tighten(request.extensions_mut());
    let answer = ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    assert!(answer.headers()["x-own"] == "7" && answer.headers()["retry-after"] == "1");
    answer
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_returned_whole_if_no_other_attempt_can_be_made() {
    let trailers = Out::Trailers(vec![("x-sum", "8")]);
    let frames = vec![Out::Data(1000), Out::Wait(20 * MS), Out::Data(500), trailers];
    let answer = last_answer(Version::HTTP_11, frames).await;
    for (field, value) in [("content-length", "1500"), ("content-type", "text/plain"), ("content-encoding", "x")] {
        assert_eq!(answer.headers()[field], value);
    }
    let body = answer.into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(1500), false));
    let body = body.collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "8");
    assert_eq!(body.to_bytes(), vec![b'x'; 1500]);
}

/// Longer than is kept, of more pieces, not read to its end in time, or not read at all.
#[tokio::test(start_paused = true)]
async fn a_last_answer_without_its_body_says_nothing_of_it() {
    let pieces = std::iter::repeat_n(Out::Data(1), 1000).collect();
    for (version, frames) in [
        (Version::HTTP_11, vec![Out::Data(4096), Out::Data(4097)]),
        (Version::HTTP_11, pieces),
        (Version::HTTP_11, vec![Out::Data(1), Out::Wait(60 * MS), Out::Data(1)]),
        (Version::HTTP_2, vec![Out::Data(10)]),
    ] {
        let answer = last_answer(version, frames).await;
        for field in ["content-length", "content-type", "content-encoding", "repr-digest"] {
            assert!(!answer.headers().contains_key(field), "{field}");
        }
        assert!(answer.body().is_end_stream());
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "");
    }
}

/// The connection goes on with the body of the first attempt, while the second one waits for its time.
#[tokio::test(start_paused = true)]
async fn an_early_answer_is_not_lost_to_a_connection_that_goes_on_reading() {
    let service = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
        let is_retry = Attempt::of(request.extensions()).is_retry();
        let mut body = request.into_body();
        if is_retry {
            return Ok::<_, BoxError>(Response::new(Full::new(body.collect().await?.to_bytes())));
        }
        tokio::spawn(async move {
            sleep(MS).await;
            while let Some(Ok(_)) = body.frame().await {}
        });
        Ok(Response::builder().status(503).header("retry-after", "1").body(Full::default()).unwrap())
    });
    let upload = Bytes::from(vec![b'x'; 100 * 1024]);
    let request = Request::put("/").body(Full::from(upload.clone())).unwrap();
    let answer = RetryLayer::new(THREE).layer(service).oneshot(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), upload);
}
