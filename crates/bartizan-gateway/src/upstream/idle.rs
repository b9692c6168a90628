//! The body of an answer, which may not rest for too long.

use crate::upload::Upload;
use axum::BoxError;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// Breaks off when an endpoint sends nothing for `limit`, while somebody waits for it. It is not to blame for the time in
    /// which it waits for more of the request itself.
    ///
    /// tower-http's `TimeoutBody` promises the same. It sets a timer for each piece, whether or not that is there already;
    /// and it breaks off what is there but was fetched late, for which an endpoint would be blamed whose client is slow.
    pub struct IdleBody<B> {
        #[pin]
        body: B,
        limit: Option<Duration>,
        // That of the request, if it was on its way still. Boxed: few are.
        upload: Option<Box<Upload>>,
        // Since when somebody waits.
        since: Option<Instant>,
        // Made when somebody has to wait. It is set anew when it rings, not for each piece.
        sleep: Option<Pin<Box<Sleep>>>,
    }
}

/// Why such a body broke off.
#[derive(Debug)]
pub(crate) struct Idle(());

// ===== impl IdleBody =====

impl<B> IdleBody<B> {
    pub(super) fn new(body: B, limit: Option<Duration>, upload: Option<Box<Upload>>) -> Self {
        Self { body, limit, upload, since: None, sleep: None }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for IdleBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        // What is there is handed over, however late it is.
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.since = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(limit) = *this.limit else { return Poll::Pending };
        let since = *this.since.get_or_insert_with(Instant::now);
        // While it is the client's turn, the time of the endpoint has not begun.
        let turn = this.upload.as_ref().map(|upload| upload.service_since().unwrap_or_else(Instant::now));
        let since = turn.map_or(since, |turn| turn.max(since));
        let Some(over) = since.checked_add(limit) else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(over)));
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() < over {
            sleep.as_mut().reset(over);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(Some(Err(Idle(()).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ===== impl Idle =====

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the endpoint has sent nothing more of its answer for too long")
    }
}

impl Error for Idle {}
