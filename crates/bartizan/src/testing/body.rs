//! A body that does what it was told, step by step.

use super::probe::{Gate, ProbeError};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The body of the requests and responses that the laws send through a layer. It is not `Clone`.
///
/// The default one is empty: many a layer answers with that.
#[derive(Debug, Default)]
pub struct ProbeBody {
    steps: VecDeque<Step>,
    /// How much more than what comes the size hint allows; `0` is an exact one.
    slack: u64,
    _live: Option<Live>,
}

/// One thing that a body does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(&'static str),
    Trailers(HeaderMap),
    Fail(ProbeError),
    /// Pending once, woken at once.
    Pause,
    /// Pending until the gate opens.
    Wait(Gate),
}

/// Something that is alive, counted by the reference count of what is inside.
#[derive(Clone, Debug)]
pub(super) struct Live(#[allow(dead_code, reason = "it lives, that is all")] pub(super) Arc<()>);

/// What came out of a body, to be compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    Data(Bytes),
    Trailers(HeaderMap),
    Failed(String),
    End,
}

// ===== impl ProbeBody =====

impl ProbeBody {
    /// A body of an exactly known size.
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), slack: 0, _live: None }
    }

    /// A body whose size hint leaves room for `slack` bytes that never come.
    pub(super) fn slack(mut self, slack: u64) -> Self {
        self.slack = slack;
        self
    }

    pub(super) fn live(mut self, live: Live) -> Self {
        self._live = Some(live);
        self
    }
}

impl Body for ProbeBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        loop {
            if let Some(Step::Wait(gate)) = self.steps.front() {
                ready!(gate.poll(cx));
            }
            return Poll::Ready(match self.steps.pop_front() {
                Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data.as_bytes())))),
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail(error)) => Some(Err(error)),
                Some(Step::Pause) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Wait(_)) => continue,
                None => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let to_come = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            Step::Trailers(_) | Step::Fail(_) | Step::Pause | Step::Wait(_) => 0,
        });
        let to_come = to_come.sum();
        let mut hint = SizeHint::with_exact(to_come);
        hint.set_upper(to_come + self.slack);
        hint
    }
}

// ===== impl Came =====

impl Came {
    /// The next thing that comes out of `body`.
    pub(super) async fn out_of<B>(body: &mut Pin<Box<B>>) -> Self
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        match frame {
            None => Self::End,
            Some(Err(error)) => Self::Failed(root(&*error.into())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => Self::Data(data.copy_to_bytes(data.remaining())),
                Err(frame) => frame.into_trailers().map_or(Self::End, Self::Trailers),
            },
        }
    }

    /// Everything that comes out of `body`, until its end or its error.
    pub(super) async fn all_of<B>(body: B) -> Vec<Self>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let mut body = Box::pin(body);
        let mut all = Vec::new();
        loop {
            let came = Self::out_of(&mut body).await;
            let over = matches!(came, Self::End | Self::Failed(_));
            all.push(came);
            if over {
                return all;
            }
        }
    }
}

/// What the innermost source of an error says: wrapping an error is no change.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(source) => root(source),
        None => error.to_string(),
    }
}
