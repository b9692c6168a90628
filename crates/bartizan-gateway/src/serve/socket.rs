//! The socket of a client, between hyper and the kernel.

use super::interim::Course;
use crate::pieces::poll_write_pieces;
use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// A socket that knows how its client began, and writes interim responses between two messages of hyper's.
///
/// hyper asks a socket to flush only when it has written all that it has. While the request that it is answering has no
/// answer yet, all of the one before has then been written, and nothing of this one: that is where an interim response
/// belongs, and nowhere else.
pub(super) struct Socket {
    stream: TokioIo<TcpStream>,
    /// What was read to see which HTTP it is.
    began: Bytes,
    course: Option<Arc<Course>>,
    /// Interim responses that are being written. Nothing of hyper's goes in between.
    heads: Bytes,
    waker: Option<Waker>,
}

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

/// RFC 9113 §3.4: how a connection of HTTP/2 begins, and none of HTTP/1 can.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// ===== impl Socket =====

impl Socket {
    /// Reads as much as it takes to tell which HTTP it is (RFC 9113 §3.3, with prior knowledge).
    pub(super) async fn hear(mut stream: TcpStream) -> io::Result<(Self, Speaks)> {
        let mut began = [0; PREFACE.len()];
        let mut heard = 0;
        let speaks = loop {
            match stream.read(&mut began[heard..]).await? {
                0 => break Speaks::Http1,
                read => heard += read,
            }
            if began[..heard] != PREFACE[..heard] {
                break Speaks::Http1;
            }
            if heard == PREFACE.len() {
                break Speaks::Http2;
            }
        };
        let began = Bytes::copy_from_slice(&began[..heard]);
        let socket = Self { stream: TokioIo::new(stream), began, course: None, heads: Bytes::new(), waker: None };
        Ok((socket, speaks))
    }

    /// The same socket, which writes the interim responses of this.
    pub(super) fn with(self, course: Arc<Course>) -> Self {
        Self { course: Some(course), ..self }
    }

    /// Writes what is left of interim responses that have been begun.
    fn poll_heads(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.heads.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.heads))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.heads.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(course) = &this.course
            && this.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            course.wake_by(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        if this.began.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let began = this.began.split_to(this.began.len().min(into.remaining()));
        into.put_slice(&began);
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_heads(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_heads(cx))?;
        poll_write_pieces(self.stream.inner_mut(), cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_heads(cx))?;
        if let Some(heads) = self.course.as_ref().and_then(|course| course.take()) {
            self.heads = heads.into();
            ready!(self.poll_heads(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_heads(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
