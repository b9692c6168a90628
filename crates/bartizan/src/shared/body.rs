//! The response body of every layer: the inner body untouched, or the layer's own answer.

use super::ColdDrop;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    mem::ManuallyDrop,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

pin_project! {
    /// A response body: that of the inner service, or a layer's own bytes.
    ///
    /// Frames, trailers, `size_hint` and `is_end_stream` of the inner body pass untouched. A [`Watch`] that rides
    /// along learns how the body ended: at its end, by an error, or because the server let it go.
    #[project = ResponseBodyProj]
    #[derive(Debug)]
    pub struct ResponseBody<B, W: Watch = Unwatched> {
        #[pin]
        kind: Kind<B>,
        watched: Watched<W>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { said: Said },
    }
}

/// What a layer says itself, if anything.
///
/// Shared, as a refusal says the same to everybody; and one pointer, so that the bodies that pass carry no room for more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(ColdDrop<Arc<Bytes>>);

/// How a body, or the request that it belongs to, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last frame was handed over.
    Complete,
    /// The body, or the service, answered with an error.
    Failed,
    /// It was dropped before its end: most often the client has gone.
    Dropped,
}

/// What wants to know how a response body goes.
pub trait Watch {
    /// A data frame of `bytes` bytes is about to be handed over.
    fn data(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// The trailers are about to be handed over.
    fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// The body has ended. Called exactly once.
    fn end(self, end: End);
}

/// The watch of a body that nobody watches: there is none.
#[derive(Clone, Copy, Debug)]
pub enum Unwatched {}

/// Calls [`Watch::end`] exactly once, on drop if nothing came before.
#[derive(Debug)]
struct Watched<W: Watch>(ManuallyDrop<Option<W>>);

// ===== impl ResponseBody =====

impl<B, W: Watch> ResponseBody<B, W> {
    /// The body of the inner service, unwatched.
    pub fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body }, watched: Watched::by(None) }
    }

    /// The same, of which `watch` learns how it ends, unless it is [over](Self::end_if_over) already.
    #[inline]
    pub(crate) fn watched(body: B, watch: Option<W>) -> Self {
        Self { kind: Kind::Inner { body }, watched: Watched::by(watch) }
    }

    /// A layer's own answer.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        Self::said(bytes.into().into())
    }

    #[inline]
    pub(crate) fn said(said: Said) -> Self {
        Self { kind: Kind::Own { said }, watched: Watched::by(None) }
    }

    /// Lets `watch` ride along. A body that has nothing to send ends at once.
    #[must_use]
    pub fn watched_by(mut self, watch: W) -> Self
    where
        B: Body,
    {
        self.watched = Watched::by(Some(watch));
        self.end_if_over();
        self
    }

    /// A body that has nothing to send ends at once. Looked at where it is to be handed over, as a response is large.
    #[inline]
    pub(crate) fn end_if_over(&mut self)
    where
        B: Body,
    {
        if self.kind.is_over() {
            self.watched.end(End::Complete);
        }
    }
}

impl<B: Body> Kind<B> {
    #[inline]
    fn is_over(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Own { said } => said.0.get().is_none(),
        }
    }
}

/// Empty: what a layer further out answers with when it makes a response of its own, as tower-http's CORS does.
impl<B, W: Watch> Default for ResponseBody<B, W> {
    fn default() -> Self {
        Self::own(Bytes::new())
    }
}

impl<B, W> Body for ResponseBody<B, W>
where
    B: Body,
    B::Data: From<Bytes>,
    W: Watch,
{
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        match this.kind.project() {
            KindProj::Inner { mut body } => {
                // A frame is large: it is looked at where it is to be handed over.
                let polled = body.as_mut().poll_frame(cx);
                if let Poll::Ready(came) = &polled
                    && let Some(watch) = this.watched.0.as_mut()
                    && let Some(end) = tell(watch, came, &body)
                {
                    this.watched.end(end);
                }
                polled
            }
            KindProj::Own { said } => said.hand_over(this.watched),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.kind.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { said } => SizeHint::with_exact(said.len() as u64),
        }
    }
}

/// Tells what has come from this body, and whether it has ended by that.
#[inline]
fn tell<B: Body>(watch: &mut impl Watch, came: &Option<Result<Frame<B::Data>, B::Error>>, body: &B) -> Option<End> {
    match came {
        Some(Ok(frame)) => {
            if let Some(data) = frame.data_ref() {
                watch.data(data.remaining());
            } else if let Some(trailers) = frame.trailers_ref() {
                watch.trailers(trailers);
            }
            // A server asks `is_end_stream` and may never poll for the `None` that would follow.
            body.is_end_stream().then_some(End::Complete)
        }
        Some(Err(_)) => Some(End::Failed),
        None => Some(End::Complete),
    }
}

// ===== impl Said =====

impl Said {
    /// Takes all there is.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.0.take().map(Arc::unwrap_or_clone)
    }

    /// All there is, at once.
    #[inline(never)]
    fn hand_over<D, E>(&mut self, watched: &mut Watched<impl Watch>) -> Poll<Option<Result<Frame<D>, E>>>
    where
        D: From<Bytes>,
    {
        let bytes = self.take();
        if let (Some(bytes), Some(watch)) = (&bytes, watched.0.as_mut()) {
            watch.data(bytes.len());
        }
        watched.end(End::Complete);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes.into()))))
    }
}

impl From<Bytes> for Said {
    fn from(bytes: Bytes) -> Self {
        Self(ColdDrop::new(Some(bytes).filter(|bytes| !bytes.is_empty()).map(Arc::new)))
    }
}

impl From<Said> for Bytes {
    fn from(mut said: Said) -> Self {
        said.take().unwrap_or_default()
    }
}

impl Deref for Said {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.get().map_or(&[], |bytes| bytes)
    }
}

// ===== impl Watch =====

impl Watch for Unwatched {
    fn end(self, _: End) {
        match self {}
    }
}

impl<W: Watch> Watched<W> {
    #[inline]
    fn by(watch: Option<W>) -> Self {
        Self(ManuallyDrop::new(watch))
    }

    #[inline]
    fn end(&mut self, end: End) {
        if let Some(watch) = self.0.take() {
            watch.end(end);
        }
    }

    #[cold]
    #[inline(never)]
    fn dropped(&mut self) {
        self.end(End::Dropped);
    }
}

/// Out of line, as most bodies are read to their end.
impl<W: Watch> Drop for Watched<W> {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.dropped();
        }
    }
}
