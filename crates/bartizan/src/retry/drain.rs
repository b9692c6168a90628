//! The rest of a failed answer.

use bytes::Buf;
use http::Version;
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};

pin_project! {
    /// Reads what nobody wants, so that its connection can be used again: for a while, and up to so many bytes.
    pub(super) struct Drain<R> {
        #[pin]
        body: R,
        left: usize,
        #[pin]
        patience: Sleep,
    }
}

/// So many bytes are read; a new connection costs less than more.
const DRAINED: usize = 64 * 1024;

// ===== impl Drain =====

impl<R: Body> Drain<R> {
    pub(super) fn new(body: R, patience: Duration) -> Self {
        Self { body, left: DRAINED, patience: sleep(patience) }
    }

    /// Whether that saves a connection. A stream of HTTP/2 is reset by dropping it; one of HTTP/1 would be closed.
    pub(super) fn pays(version: Version, body: &R) -> bool {
        version <= Version::HTTP_11 && !body.is_end_stream() && body.size_hint().lower() <= DRAINED as u64
    }
}

impl<R: Body> Future for Drain<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if is_read(this.body, this.left, cx) { Poll::Ready(()) } else { this.patience.poll(cx) }
    }
}

/// Reads what comes; whether that was all, or enough.
fn is_read<R: Body>(mut body: Pin<&mut R>, left: &mut usize, cx: &mut Context<'_>) -> bool {
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(None | Some(Err(_))) => return true,
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                if bytes > *left || body.is_end_stream() {
                    return true;
                }
                // A frame of nothing counts as well, or a stream of them would have no end.
                *left = left.saturating_sub(bytes.max(1));
                if *left == 0 {
                    return true;
                }
            }
        }
    }
}
