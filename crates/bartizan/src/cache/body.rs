//! The body of a response that a cache answers with.

#[cfg(all(test, not(bartizan_loom)))]
mod tests;

use super::fill::Reader;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

pin_project! {
    /// A response body behind a cache: that of the inner service untouched, what is stored, or what is being stored.
    pub struct CacheBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // The hit, with nothing allocated for it. Empty when it was sent.
        Stored { bytes: Bytes },
        // Boxed, so that a hit carries no room for it.
        Pieces { pieces: Box<Pieces> },
        Reader { reader: Box<Reader> },
    }
}

/// Stored bytes in several pieces, or with trailers.
struct Pieces {
    pieces: vec::IntoIter<Bytes>,
    left: u64,
    trailers: Option<HeaderMap>,
}

// ===== impl CacheBody =====

impl<B> CacheBody<B> {
    /// The body of the inner service.
    pub(super) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// What is stored, or a part of it.
    pub(super) fn stored(bytes: Bytes) -> Self {
        Self { kind: Kind::Stored { bytes } }
    }

    /// What is stored, and the trailers that came with it.
    pub(super) fn with_trailers(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        if trailers.is_none() { Self::stored(bytes) } else { Self::boxed(vec![bytes], trailers) }
    }

    /// Several pieces, one after the other, as in `multipart/byteranges`.
    pub(super) fn pieces(pieces: Vec<Bytes>) -> Self {
        Self::boxed(pieces, None)
    }

    /// What is being stored.
    pub(super) fn reader(reader: Reader) -> Self {
        Self { kind: Kind::Reader { reader: Box::new(reader) } }
    }

    fn boxed(mut pieces: Vec<Bytes>, trailers: Option<HeaderMap>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { kind: Kind::Pieces { pieces: Box::new(Pieces { pieces: pieces.into_iter(), left, trailers }) } }
    }
}

impl<B> Body for CacheBody<B>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => Poll::Ready(ready!(body.poll_frame(cx)).map(|came| {
                came.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))).map_err(Into::into)
            })),
            KindProj::Stored { bytes } => {
                let bytes = mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            KindProj::Pieces { pieces } => Poll::Ready(pieces.next().map(Ok)),
            KindProj::Reader { reader } => Pin::new(&mut **reader).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Stored { bytes } => bytes.is_empty(),
            Kind::Pieces { pieces } => pieces.left == 0 && pieces.trailers.is_none(),
            Kind::Reader { reader } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Stored { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Pieces { pieces } => pieces.size_hint(),
            Kind::Reader { reader } => reader.size_hint(),
        }
    }
}

/// Empty.
impl<B> Default for CacheBody<B> {
    fn default() -> Self {
        Self::stored(Bytes::new())
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "CacheBody(inner)",
            Kind::Stored { .. } | Kind::Pieces { .. } => "CacheBody(stored)",
            Kind::Reader { .. } => "CacheBody(being stored)",
        })
    }
}

// ===== impl Pieces =====

impl Pieces {
    /// Not exact if trailers follow: over HTTP/1.1 a server can send those only after a body without `Content-Length`.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.left);
        if self.trailers.is_none() {
            hint.set_upper(self.left);
        }
        hint
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        match self.pieces.next() {
            Some(piece) => {
                self.left -= piece.len() as u64;
                Some(Frame::data(piece))
            }
            None => self.trailers.take().map(Frame::trailers),
        }
    }
}
