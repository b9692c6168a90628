//! One connection, that tells whether anything was heard on it.

use super::error::ClientError;
use crate::pieces::poll_write_pieces;
use axum::body::Body;
use futures_util::TryFutureExt;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection to a service, for one request after the other.
pub(super) struct Connection {
    requests: http1::SendRequest<Body>,
    heard: Arc<AtomicBool>,
}

/// A request that brought no answer.
pub(super) struct Unanswered {
    pub(super) error: hyper::Error,
    /// The request, if nothing of it was written.
    pub(super) unsent: Option<Request<Body>>,
    /// Whether the service has said anything, and be it one byte.
    pub(super) heard: bool,
}

/// A socket that notes when bytes arrive. hyper does not say of an error whether any have.
struct Listening {
    stream: TcpStream,
    heard: Arc<AtomicBool>,
}

// ===== impl Connection =====

impl Connection {
    /// Speaks HTTP/1.1 over this stream, which a task of its own drives.
    pub(super) async fn over(stream: TcpStream) -> Result<Self, ClientError> {
        let heard = Arc::<AtomicBool>::default();
        let stream = TokioIo::new(Listening { stream, heard: Arc::clone(&heard) });
        let (requests, driven) = http1::handshake(stream).await.map_err(ClientError::sending)?;
        tokio::spawn(async move {
            if let Err(error) = driven.with_upgrades().await {
                tracing::debug!(%error, "a connection to a service broke");
            }
        });
        Ok(Self { requests, heard })
    }

    /// Whether it takes a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.requests.is_ready()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Hands it over at once: whoever waits for the answer does not carry the request about.
    pub(super) fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>> {
        // The channel on which hyper hands over the request and its outcome puts both sides of this in order.
        self.heard.store(false, Ordering::Relaxed);
        let sent = self.requests.try_send_request(request);
        sent.map_err(|mut failed: TrySendError<_>| Unanswered {
            unsent: failed.take_message(),
            error: failed.into_error(),
            heard: self.heard.load(Ordering::Relaxed),
        })
    }
}

// ===== impl Listening =====

impl AsyncRead for Listening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into));
        if into.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Listening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_pieces(&mut self.stream, cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
