//! An origin that is fed by hand, and readers that are polled only when they were woken.

use super::super::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Bytes),
    Trailers,
    Fail,
    Panic,
    End,
}

#[derive(Default)]
pub(super) struct Fed {
    steps: VecDeque<Step>,
    waker: Option<Waker>,
    polls: usize,
    is_dropped: bool,
}

/// What feeds a body, and knows what became of it.
#[derive(Clone, Default)]
pub(super) struct Feed {
    pub(super) fed: Arc<Mutex<Fed>>,
    /// Whether the body tells that its last frame is its last.
    pub(super) tells_end: bool,
    pub(super) exact: Option<u64>,
}

pub(super) struct FedBody(Feed);

impl Feed {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        let feed = Self::new();
        feed.fed.lock().unwrap().steps.extend(steps);
        feed
    }

    pub(super) fn body(&self) -> FedBody {
        FedBody(self.clone())
    }

    pub(super) fn feed(&self, step: Step) {
        let mut fed = self.fed.lock().unwrap();
        fed.steps.push_back(step);
        let waker = fed.waker.take();
        drop(fed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.fed.lock().unwrap().is_dropped
    }

    pub(super) fn polls(&self) -> usize {
        self.fed.lock().unwrap().polls
    }
}

impl Body for FedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut fed = self.0.fed.lock().unwrap();
        fed.polls += 1;
        match fed.steps.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
            Some(Step::Fail) => Poll::Ready(Some(Err(io::Error::other("cut")))),
            Some(Step::End) => Poll::Ready(None),
            Some(Step::Panic) => {
                drop(fed);
                panic!("as it was told")
            }
            None => {
                // Only the last waker counts, as with any body.
                fed.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.tells_end && matches!(self.0.fed.lock().unwrap().steps.front(), Some(Step::End))
    }

    fn size_hint(&self) -> SizeHint {
        self.0.exact.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for FedBody {
    fn drop(&mut self) {
        self.0.fed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_dropped = true;
    }
}

pub(super) fn data(text: &'static str) -> Step {
    Step::Data(Bytes::from_static(text.as_bytes()))
}

pub(super) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))])
}

/// What `done` was told, each time it was called.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<Outcome>>>);

impl Told {
    pub(super) fn hear(&self) -> impl FnOnce(Outcome) + Send + 'static {
        let told = self.clone();
        move |outcome| told.0.lock().unwrap().push(outcome)
    }

    /// What it was told, and that it was told once.
    pub(super) fn once(&self) -> Option<Outcome> {
        let told = self.0.lock().unwrap();
        assert!(told.len() < 2, "told twice: {told:?}");
        told.first().cloned()
    }
}

pub(super) fn plan(expected: impl Into<Option<u64>>, limit: u64, abandoned: Abandoned) -> Plan {
    Plan { expected: expected.into(), limit, abandoned, spawn: on_current_runtime() }
}

pub(super) fn start(feed: &Feed, plan: Plan) -> (Arc<Fill>, Reading, Told) {
    let told = Told::default();
    let (fill, reader) = Fill::start(feed.body(), plan, told.hear());
    (fill, Reading::new(reader), told)
}

pub(super) fn whole(bytes: &'static str) -> Option<Outcome> {
    Some(Outcome::Whole { bytes: Bytes::from_static(bytes.as_bytes()), trailers: None })
}

/// Set until it is polled, and whenever it was woken.
pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// A reader, and what came out of it.
pub(super) struct Reading {
    reader: Reader,
    flag: Arc<Flag>,
    pub(super) bytes: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) error: Option<String>,
    pub(super) is_over: bool,
}

impl Reading {
    pub(super) fn new(reader: Reader) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        Self { reader, flag, bytes: Vec::new(), trailers: None, error: None, is_over: false }
    }

    pub(super) fn is_woken(&self) -> bool {
        !self.is_over && self.flag.0.load(Ordering::Acquire)
    }

    /// One poll: whether something came. What was read and what is said to come are always the same in all.
    pub(super) fn poll(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        self.flag.0.store(false, Ordering::Release);
        let (before, said) = (self.bytes.len() as u64, self.reader.size_hint());
        let ends = self.reader.is_end_stream();
        let waker = Waker::from(Arc::clone(&self.flag));
        let Poll::Ready(came) = Pin::new(&mut self.reader).poll_frame(&mut Context::from_waker(&waker)) else {
            assert!(!ends, "it has ended, and waits");
            return false;
        };
        // What was not waiting is polled again by itself.
        self.flag.0.store(true, Ordering::Release);
        match came {
            None => self.is_over = true,
            Some(Err(error)) => {
                let source = error.source().map_or(String::new(), |source| format!(": {source}"));
                (self.error, self.is_over) = (Some(format!("{error}{source}")), true);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty());
                    self.bytes.extend_from_slice(&data);
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
        }
        assert!(!ends || self.is_over, "it has ended, and something comes");
        let says = self.reader.size_hint();
        let read = self.bytes.len() as u64 - before;
        assert!(says.lower() + read >= said.lower() || self.error.is_some(), "less than was said");
        if let (Some(said), Some(says), None) = (said.exact(), says.exact(), &self.error) {
            assert_eq!(said, says + read, "a size hint is off");
        }
        true
    }

    /// Polls as long as something comes.
    pub(super) fn drain(&mut self) -> &[u8] {
        while self.poll() {}
        &self.bytes
    }

    pub(super) fn ends(&self) -> bool {
        self.reader.is_end_stream()
    }

    pub(super) fn size(&self) -> SizeHint {
        self.reader.size_hint()
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let polled = Pin::new(&mut self.reader).poll_frame(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Some(Ok(frame))) = polled { frame.into_data().ok() } else { None }
    }

    /// For a test in which time goes on.
    pub(super) async fn drained(&mut self) -> &[u8] {
        while !self.is_over {
            let came = std::future::poll_fn(|cx| Pin::new(&mut self.reader).poll_frame(cx)).await;
            match came {
                None => self.is_over = true,
                Some(Err(error)) => (self.error, self.is_over) = (Some(error.to_string()), true),
                Some(Ok(frame)) => self.bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
        &self.bytes
    }
}

/// Polls whoever was woken, until nobody is.
pub(super) fn settle(readings: &mut [Option<Reading>]) {
    while let Some(reading) = readings.iter_mut().flatten().find(|reading| reading.is_woken()) {
        reading.poll();
    }
}
