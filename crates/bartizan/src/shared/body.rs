//! The response body of every layer: the inner body untouched, or the layer's own answer.

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
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
        // Boxed, so that the bodies that pass carry no room for it.
        Own { bytes: Option<Box<Bytes>> },
    }
}

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
struct Watched<W: Watch>(Option<W>);

// ===== impl ResponseBody =====

impl<B, W: Watch> ResponseBody<B, W> {
    /// The body of the inner service, unwatched.
    pub fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body }, watched: Watched(None) }
    }

    /// A layer's own answer.
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = Some(bytes.into()).filter(|bytes| !bytes.is_empty()).map(Box::new);
        Self { kind: Kind::Own { bytes }, watched: Watched(None) }
    }

    /// Lets `watch` ride along. A body that has nothing to send ends at once.
    #[must_use]
    pub fn watched_by(mut self, watch: W) -> Self
    where
        B: Body,
    {
        self.watched = Watched(Some(watch));
        if self.kind.is_over() {
            self.watched.end(End::Complete);
        }
        self
    }
}

impl<B, W> ResponseBodyProj<'_, B, W>
where
    B: Body,
    B::Data: From<Bytes>,
    W: Watch,
{
    // A function of its own, so that the frame, which is large, lies where it is to be handed over.
    #[inline(never)]
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = match self.kind.as_mut().project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Own { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data((*bytes).into())))),
        };
        if let Poll::Ready(came) = &polled
            && let Some(watch) = &mut self.watched.0
        {
            let end = match came {
                Some(Ok(frame)) => {
                    tell(watch, frame);
                    // A server asks `is_end_stream` and may never poll for the `None` that would follow.
                    self.kind.is_over().then_some(End::Complete)
                }
                Some(Err(_)) => Some(End::Failed),
                None => Some(End::Complete),
            };
            if let Some(end) = end {
                self.watched.end(end);
            }
        }
        polled
    }
}

impl<B: Body> Kind<B> {
    #[inline]
    fn is_over(&self) -> bool {
        match self {
            Self::Inner { body } => body.is_end_stream(),
            Self::Own { bytes } => bytes.is_none(),
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
        let mut this = self.project();
        if this.watched.0.is_none()
            && let KindProj::Inner { body } = this.kind.as_mut().project()
        {
            return body.poll_frame(cx);
        }
        this.poll_watched(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.kind.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}

fn tell(watch: &mut impl Watch, frame: &Frame<impl Buf>) {
    if let Some(data) = frame.data_ref() {
        watch.data(data.remaining());
    } else if let Some(trailers) = frame.trailers_ref() {
        watch.trailers(trailers);
    }
}

// ===== impl Watch =====

impl Watch for Unwatched {
    fn end(self, _: End) {
        match self {}
    }
}

impl<W: Watch> Watched<W> {
    fn end(&mut self, end: End) {
        if let Some(watch) = self.0.take() {
            watch.end(end);
        }
    }
}

impl<W: Watch> Drop for Watched<W> {
    fn drop(&mut self) {
        self.end(End::Dropped);
    }
}
