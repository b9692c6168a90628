//! The body of an answer, which gives its connection back.

use super::{connection::Connection, pool::Pool};
use bytes::Bytes;
use http::uri::Authority;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The body of what the plain [`Client`](crate::Client) is answered.
///
/// When it has ended, its connection is free for another request. If it is dropped before, the connection is closed, as
/// what is left of the body is in the way.
pub struct ClientBody {
    body: Incoming,
    lent: Option<(Arc<Pool>, Authority, Connection)>,
}

// ===== impl ClientBody =====

impl ClientBody {
    pub(super) fn new(body: Incoming, lent: Option<(Arc<Pool>, Authority, Connection)>) -> Self {
        let mut body = Self { body, lent };
        if body.body.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some((pool, to, connection)) = self.lent.take() {
            pool.put(to, connection);
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            // Nobody asks again after the last byte of a known length, nor after trailers.
            Some(Ok(frame)) if !self.body.is_end_stream() && frame.is_data() => {}
            Some(Err(_)) => self.lent = None,
            Some(Ok(_)) | None => self.give_back(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientBody")
    }
}
