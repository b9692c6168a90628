//! The service inside: it answers as it was told, and sees what a layer does to it.

use super::body::{Came, Live, ProbeBody, Step};
use bytes::Buf;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error, fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};
use tower_service::Service;

/// The service that the laws put inside a layer.
///
/// An instance is ready for one call after each `poll_ready` that said so; a clone is not ready.
#[derive(Debug)]
pub struct Probe {
    script: Arc<Script>,
    shared: Arc<Shared>,
    ready: bool,
    /// How often `poll_ready` will still say that it is busy.
    busy: usize,
}

/// What a [`Probe`] fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeError(pub(super) u32);

pin_project! {
    /// The future of a [`Probe`]: it reads the request's body, then answers.
    #[derive(Debug)]
    pub struct ProbeFuture<B> {
        head: Option<request::Parts>,
        #[pin]
        body: B,
        at_first: Hints,
        came: Vec<Came>,
        read: bool,
        pauses: usize,
        script: Arc<Script>,
        shared: Arc<Shared>,
        live: Live,
    }
}

/// How a [`Probe`] behaves.
#[derive(Debug)]
pub(super) struct Script {
    /// How often each instance says that it is busy before it is ready.
    pub(super) busy: usize,
    /// What `poll_ready` fails with.
    pub(super) unready: Option<ProbeError>,
    /// Until when `poll_ready` is pending.
    pub(super) ready_gate: Gate,
    /// How often a future pauses before it answers.
    pub(super) pauses: usize,
    /// Until when a future is pending.
    pub(super) answer_gate: Gate,
    pub(super) answer: Result<Answer, ProbeError>,
}

/// What a [`Probe`] answers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) steps: Vec<Step>,
    pub(super) slack: u64,
}

/// The mark in the extensions of a request and of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(pub(super) u32);

/// What a probe saw of a request.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) mark: Option<Mark>,
    pub(super) at_first: Hints,
    pub(super) came: Vec<Came>,
}

/// What a body says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) lower: u64,
    pub(super) upper: Option<u64>,
    pub(super) is_end_stream: bool,
}

/// A place where one waits, awake when it opens and not before.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Shared {
    live: Arc<()>,
    calls: AtomicUsize,
    calls_when_not_ready: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
}

// ===== impl Probe =====

impl Probe {
    pub(super) fn new(script: Script) -> Self {
        Self { busy: script.busy, script: Arc::new(script), shared: Arc::default(), ready: false }
    }

    /// Something new that counts as alive.
    pub(super) fn live(&self) -> Live {
        Live(Arc::clone(&self.shared.live))
    }

    /// How many requests, futures and bodies are alive.
    pub(super) fn alive(&self) -> usize {
        Arc::strong_count(&self.shared.live) - 1
    }

    pub(super) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::Relaxed)
    }

    pub(super) fn calls_when_not_ready(&self) -> usize {
        self.shared.calls_when_not_ready.load(Ordering::Relaxed)
    }

    /// What was seen since the last look.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.shared.lock_seen())
    }
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self {
            script: Arc::clone(&self.script),
            shared: Arc::clone(&self.shared),
            ready: false,
            busy: self.script.busy,
        }
    }
}

impl<B> Service<Request<B>> for Probe
where
    B: Body<Error: Into<Box<dyn error::Error + Send + Sync>>>,
{
    type Response = Response<ProbeBody>;
    type Error = ProbeError;
    type Future = ProbeFuture<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if let Some(error) = &self.script.unready {
            return Poll::Ready(Err(error.clone()));
        }
        if self.busy > 0 {
            self.busy -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.script.ready_gate.poll(cx));
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProbeFuture<B> {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        if !std::mem::take(&mut self.ready) {
            self.shared.calls_when_not_ready.fetch_add(1, Ordering::Relaxed);
        }
        self.busy = self.script.busy;
        let (head, body) = request.into_parts();
        ProbeFuture {
            head: Some(head),
            at_first: Hints::of(&body),
            body,
            came: Vec::new(),
            read: false,
            pauses: self.script.pauses,
            script: Arc::clone(&self.script),
            shared: Arc::clone(&self.shared),
            live: self.live(),
        }
    }
}

impl Shared {
    fn lock_seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Script =====

impl Default for Script {
    fn default() -> Self {
        Self {
            busy: 0,
            unready: None,
            ready_gate: Gate::default(),
            pauses: 0,
            answer_gate: Gate::default(),
            answer: Ok(Answer::default()),
        }
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            steps: vec![Step::Data("hello")],
            slack: 0,
        }
    }
}

impl Answer {
    pub(super) fn body(&self) -> ProbeBody {
        ProbeBody::new(self.steps.clone()).slack(self.slack)
    }
}

// ===== impl ProbeFuture =====

impl<B> Future for ProbeFuture<B>
where
    B: Body<Error: Into<Box<dyn error::Error + Send + Sync>>>,
{
    type Output = Result<Response<ProbeBody>, ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while !*this.read {
            let came = match ready!(this.body.as_mut().poll_frame(cx)) {
                None => Came::End,
                Some(Err(error)) => Came::Failed(error.into().to_string()),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => Came::Data(data.copy_to_bytes(data.remaining())),
                    Err(frame) => frame.into_trailers().map_or(Came::End, Came::Trailers),
                },
            };
            *this.read = matches!(came, Came::End | Came::Failed(_));
            this.came.push(came);
        }
        if *this.pauses > 0 {
            *this.pauses -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.script.answer_gate.poll(cx));
        if let Some(head) = this.head.take() {
            this.shared.lock_seen().push(Seen {
                mark: head.extensions.get().copied(),
                method: head.method,
                uri: head.uri,
                version: head.version,
                headers: head.headers,
                at_first: *this.at_first,
                came: std::mem::take(this.came),
            });
        }
        Poll::Ready(this.script.answer.clone().map(|answer| {
            let mut response = Response::new(answer.body().live(this.live.clone()));
            *response.status_mut() = answer.status;
            *response.version_mut() = answer.version;
            *response.headers_mut() = answer.headers;
            response.extensions_mut().insert(Mark(2));
            response
        }))
    }
}

// ===== impl Hints =====

impl Hints {
    pub(super) fn of(body: &impl Body) -> Self {
        let hint: SizeHint = body.size_hint();
        Self { lower: hint.lower(), upper: hint.upper(), is_end_stream: body.is_end_stream() }
    }
}

// ===== impl Gate =====

impl Gate {
    pub(super) fn closed() -> Self {
        Self(Arc::new(Mutex::new(GateState { closed: true, waiting: Vec::new() })))
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.closed {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn open(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl ProbeError =====

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "probe error {}", self.0)
    }
}

impl error::Error for ProbeError {}
