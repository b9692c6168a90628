//! A service that answers as it was told, and remembers what it was asked.

use super::super::*;
use crate::shared::Refusal;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::{Layer, Service, ServiceExt};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What comes next. The last one comes again and again.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Status(u16),
    /// Without having read the request's body.
    Unread(u16),
    /// With a body that takes its time.
    Slow(u16),
    RetryAfter(u16, &'static str),
    /// With these frames, after so long.
    Frames(Vec<(&'static str, &'static str)>, Version, Vec<Out>),
    /// A refusal of a layer between.
    Refusal,
    /// The answer of a timeout between.
    TimedOut,
    Error(io::ErrorKind),
    /// A refused connection: the body was not read.
    Refused,
    Never,
}

/// What a response's body does.
#[derive(Clone, Debug)]
pub(super) enum Out {
    Data(usize),
    Trailers(Vec<(&'static str, &'static str)>),
    Wait(Duration),
}

#[derive(Debug)]
pub(super) struct Upstream {
    script: Arc<Mutex<Script>>,
    ready: bool,
    busy: usize,
}

#[derive(Debug, Default)]
struct Script {
    says: VecDeque<Say>,
    heads: Vec<request::Parts>,
    bodies: Vec<String>,
    busy: usize,
    slow: Duration,
    unready_after: Option<usize>,
    broken_after: Option<usize>,
    live: Arc<()>,
    let_go: Vec<(Instant, usize)>,
}

pub(super) fn get() -> Request<Full<Bytes>> {
    Request::get("/").body(Full::default()).unwrap()
}

pub(super) fn post() -> Request<Full<Bytes>> {
    Request::post("/").body(Full::from("order")).unwrap()
}

pub(super) type Answer = Response<ResponseBody<Answering>>;

pub(super) async fn ask(
    layer: &RetryLayer,
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
) -> Result<Answer, BoxError> {
    layer.layer(upstream.clone()).oneshot(request).await
}

pub(super) async fn collect(answer: Answer) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

// ===== impl Upstream =====

impl Upstream {
    pub(super) fn answering(says: impl IntoIterator<Item = Say>) -> Self {
        let script = Script { says: says.into_iter().collect(), ..Script::default() };
        Self { script: Arc::new(Mutex::new(script)), ready: false, busy: 0 }
    }

    pub(super) fn answering_each(says: impl IntoIterator<Item = Say>) -> Self {
        Self::answering(says)
    }

    /// Another one of the same script.
    pub(super) fn fresh(&self) -> Self {
        Self::answering(self.script.lock().unwrap().says.clone())
    }

    fn with(self, change: impl FnOnce(&mut Script)) -> Self {
        change(&mut self.script.lock().unwrap());
        self
    }

    /// Is busy so often before each call.
    pub(super) fn busy(mut self, busy: usize) -> Self {
        self.busy = busy;
        self.with(|script| script.busy = busy)
    }

    pub(super) fn slow(self, slow: Duration) -> Self {
        self.with(|script| script.slow = slow)
    }

    pub(super) fn unready_after(self, calls: usize) -> Self {
        self.with(|script| script.unready_after = Some(calls))
    }

    pub(super) fn broken_after(self, calls: usize) -> Self {
        self.with(|script| script.broken_after = Some(calls))
    }

    pub(super) fn calls(&self) -> usize {
        self.script.lock().unwrap().heads.len()
    }

    pub(super) fn heads(&self) -> Vec<request::Parts> {
        self.script.lock().unwrap().heads.clone()
    }

    pub(super) fn bodies(&self) -> Vec<String> {
        self.script.lock().unwrap().bodies.clone()
    }

    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let text = |head: request::Parts| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        self.heads().into_iter().map(text).collect()
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.fields("x-retry-attempt")
    }

    pub(super) fn attempts(&self) -> Vec<Option<u32>> {
        self.heads().iter().map(|head| head.extensions.get::<Attempt>().map(|attempt| attempt.number())).collect()
    }

    pub(super) fn alive(&self) -> usize {
        Arc::strong_count(&self.script.lock().unwrap().live) - 1
    }

    /// When each response's body was dropped, and how many bytes of it were read.
    pub(super) fn let_go(&self) -> Vec<(Instant, usize)> {
        self.script.lock().unwrap().let_go.clone()
    }
}

impl Clone for Upstream {
    fn clone(&self) -> Self {
        let busy = self.script.lock().unwrap().busy;
        Self { script: Arc::clone(&self.script), ready: false, busy }
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Answering>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let script = self.script.lock().unwrap();
        let after = |calls: Option<usize>| calls.is_some_and(|calls| script.heads.len() >= calls);
        if after(script.broken_after) {
            return Poll::Ready(Err("closed".into()));
        }
        if after(script.unready_after) {
            return Poll::Pending;
        }
        if self.busy > 0 {
            self.busy -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        let (head, body) = request.into_parts();
        let (say, slow, live) = {
            let mut script = self.script.lock().unwrap();
            self.busy = script.busy;
            script.heads.push(head);
            let say = if script.says.len() > 1 { script.says.pop_front() } else { script.says.front().cloned() };
            (say.unwrap(), script.slow, Arc::clone(&script.live))
        };
        let script = Arc::clone(&self.script);
        Box::pin(async move {
            let read = match say {
                Say::Unread(_) | Say::Refused => Bytes::new(),
                _ => body.collect().await.map_err(Into::into)?.to_bytes(),
            };
            script.lock().unwrap().bodies.push(String::from_utf8(read.to_vec()).unwrap());
            if !slow.is_zero() {
                sleep(slow).await;
            }
            let refusal = match say {
                Say::Refusal => Some(Refusal::new("breaker_open")),
                Say::TimedOut => Some(Refusal::new("timeout")),
                _ => None,
            };
            let (code, fields, version, frames) = match say {
                Say::Status(code) | Say::Unread(code) => (code, vec![], Version::HTTP_11, vec![]),
                Say::Slow(code) => (
                    code,
                    vec![],
                    Version::HTTP_11,
                    vec![Out::Data(3), Out::Wait(Duration::from_millis(5)), Out::Data(3)],
                ),
                Say::RetryAfter(code, after) => (code, vec![("retry-after", after)], Version::HTTP_11, vec![]),
                Say::Frames(fields, version, frames) => (200, fields, version, frames),
                Say::Refusal => (503, vec![], Version::HTTP_11, vec![]),
                Say::TimedOut => (504, vec![], Version::HTTP_11, vec![]),
                Say::Error(kind) => return Err(io::Error::from(kind).into()),
                Say::Refused => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
                Say::Never => std::future::pending().await,
            };
            let text = if frames.is_empty() { format!("status {code}") } else { String::new() };
            let body = Answering {
                text: Some(text).filter(|text| !text.is_empty()),
                frames: frames.into(),
                waiting: None,
                read: 0,
                script,
                _live: live,
            };
            let mut response = Response::builder().status(code).version(version).header("x-answer", code.to_string());
            for (name, value) in fields {
                // The answer's own status, where a test has one.
                response = if name == ":status" { response.status(value) } else { response.header(name, value) };
            }
            let mut response = response.body(body).unwrap();
            refusal.map(|refusal| response.extensions_mut().insert(refusal));
            Ok(response)
        })
    }
}

// ===== the response's body =====

#[derive(Debug)]
pub(super) struct Answering {
    text: Option<String>,
    frames: VecDeque<Out>,
    waiting: Option<Pin<Box<Sleep>>>,
    read: usize,
    script: Arc<Mutex<Script>>,
    _live: Arc<()>,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(text) = self.text.take() {
            self.read += text.len();
            return Poll::Ready(Some(Ok(Frame::data(text.into()))));
        }
        loop {
            if let Some(waiting) = &mut self.waiting {
                std::task::ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            return Poll::Ready(match self.frames.pop_front() {
                None => None,
                Some(Out::Wait(time)) => {
                    self.waiting = Some(Box::pin(sleep_until(Instant::now() + time)));
                    continue;
                }
                Some(Out::Data(bytes)) => {
                    self.read += bytes;
                    Some(Ok(Frame::data(vec![b'x'; bytes].into())))
                }
                Some(Out::Trailers(fields)) => {
                    let field = |(name, value): (&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
                    Some(Ok(Frame::trailers(HeaderMap::from_iter(fields.into_iter().map(field)))))
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && self.frames.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.script.lock().unwrap().let_go.push((Instant::now(), self.read));
    }
}

// ===== events =====

/// What was told, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    pub(super) fn of(&self, layer: RetryLayer) -> RetryLayer {
        let events = Arc::clone(&self.0);
        layer.observe(move |event| {
            events.lock().unwrap().push(match event {
                Event::Retried { reason, .. } => format!("retried {reason:?}"),
                Event::GaveUp { why, .. } => format!("gave up: {why:?}"),
                Event::Recovered { attempts } => format!("recovered after {attempts}"),
            });
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
