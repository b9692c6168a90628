//! The rest of a failed answer.

use bytes::Buf;
use http::Version;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

pin_project! {
    /// Reads what nobody may want, so that its connection can be used again: for a while, and up to so many bytes.
    pub(super) struct Drain<R: Body> {
        #[pin]
        body: R,
        left: usize,
        // `None` if it is too long.
        kept: Option<Whole<R>>,
        #[pin]
        patience: Sleep,
    }
}

/// A body that was read to its end, and is short: if there can be no other attempt, the caller gets it after all.
pub(super) type Whole<R> = VecDeque<Frame<<R as Body>::Data>>;

/// So many bytes are read; a new connection costs less than more.
const DRAINED: usize = 64 * 1024;
/// So many of them are kept, and so many frames: one takes more than its bytes.
const KEPT: usize = 8 * 1024;
const FRAMES: usize = 32;

// ===== impl Drain =====

impl<R: Body> Drain<R> {
    pub(super) fn new(body: R, patience: Duration) -> Self {
        Self { body, left: DRAINED, kept: Some(Whole::<R>::new()), patience: sleep(patience) }
    }

    /// Whether that saves a connection. A stream of HTTP/2 is reset by dropping it; one of HTTP/1 would be closed.
    pub(super) fn pays(version: Version, body: &R) -> bool {
        version <= Version::HTTP_11 && !body.is_end_stream() && body.size_hint().lower() <= DRAINED as u64
    }
}

impl<R: Body> Future for Drain<R> {
    /// What was read, if it is all and short.
    type Output = Option<Whole<R>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let Poll::Ready(came) = this.body.as_mut().poll_frame(cx) else {
                ready!(this.patience.poll(cx));
                return Poll::Ready(None);
            };
            let frame = match came {
                None => return Poll::Ready(this.kept.take()),
                Some(Err(_)) => return Poll::Ready(None),
                Some(Ok(frame)) => frame,
            };
            // A frame of nothing counts as well, or a stream of them would have no end.
            *this.left = this.left.saturating_sub(frame.data_ref().map_or(0, Buf::remaining).max(1));
            let is_short = DRAINED - *this.left <= KEPT;
            match this.kept.as_mut().filter(|kept| is_short && kept.len() < FRAMES) {
                Some(kept) => kept.push_back(frame),
                None => *this.kept = None,
            }
            if this.body.is_end_stream() {
                return Poll::Ready(this.kept.take());
            }
            if *this.left == 0 {
                return Poll::Ready(None);
            }
        }
    }
}
