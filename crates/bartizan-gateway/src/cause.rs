//! Why a call to another service failed, in the words of OpenTelemetry's `error.type`.

use crate::{Attempts, ClientError, upstream::Idle};
use axum::BoxError;
use bartizan::{
    Deadline, Flag, Notes, Refusal,
    fallback::{Fallback, Reason},
};
use http::{Extensions, StatusCode};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy;
use std::{error::Error, io, iter::successors};

/// Why a call to another service failed.
///
/// [`as_str`](Cause::as_str) is the `error.type` of OpenTelemetry: one vocabulary for the answer, the log and whatever
/// else tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// `timeout`: it did not answer, or go on with its answer, within its own limit.
    Timeout,
    /// `deadline`: the time of the whole request was over first.
    Deadline,
    /// `connect`: no connection could be made.
    Connect,
    /// `tls`: a connection was made, but not a secure one: most often its certificate is not one that is trusted.
    Tls,
    /// `connection_reset`: the connection broke before the head of the answer.
    ConnectionReset,
    /// `protocol`: it answered something that is not HTTP.
    Protocol,
    /// `body`: the body of the answer broke off.
    Body,
    /// `decode`: the body is not the JSON that was expected.
    Decode,
    /// `too_large`: the body is longer than allowed.
    TooLarge,
    /// The status as text: it answered, but not with success.
    Status(StatusCode),
    /// A layer in front of it refused the call: `breaker_open`, `overloaded`, `rate_limited`, …
    Refused(Refusal),
    /// `_OTHER`: none of these.
    Other,
}

impl Cause {
    /// The cause in one word, as `error.type` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::ConnectionReset => "connection_reset",
            Self::Protocol => "protocol",
            Self::Body => "body",
            Self::Decode => "decode",
            Self::TooLarge => "too_large",
            Self::Status(status) => digits(status),
            Self::Refused(refusal) => refusal.error_type(),
            Self::Other => "_OTHER",
        }
    }

    /// The cause that an error on the way to the head of the answer has.
    pub(crate) fn of_send(error: &(dyn Error + 'static)) -> Self {
        let chain = || successors(Some(error), |&error| error.source());
        chain().find_map(of_one).or_else(|| chain().find_map(of_broken)).unwrap_or(Self::Other)
    }

    /// The cause that a refusal of a layer in front of the service has; `deadline` is that of the request.
    pub(crate) fn of_refusal(refusal: Refusal, deadline: Option<Deadline>) -> Self {
        match refusal.error_type() {
            // A layer may have had less than the request; and what it was given in all, it calls its own.
            "deadline" | "timeout" => match deadline.is_some_and(|deadline| deadline.remaining().is_zero()) {
                true => Self::Deadline,
                false => Self::Timeout,
            },
            _ => Self::Refused(refusal),
        }
    }

    /// The cause for which a fallback has answered.
    pub(crate) fn of_fallback(fallback: Fallback, attempts: &Attempts, deadline: Option<Deadline>) -> Self {
        match fallback.reason() {
            Reason::Refused(refusal) => Self::of_refusal(refusal, deadline),
            Reason::Status(status) => Self::Status(status),
            _ => attempts.last_error().unwrap_or(Self::Other),
        }
    }

    /// The cause that an error in the body of the answer has.
    pub(crate) fn of_body(error: &BoxError) -> Self {
        match Self::of_send(error.as_ref()) {
            cause @ (Self::TooLarge | Self::Timeout) => cause,
            _ => Self::Body,
        }
    }

    /// The status of an answer that cannot be given because of this.
    pub(crate) fn gateway_status(self) -> StatusCode {
        match self {
            Self::Timeout | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Status(status) if status.is_client_error() && !is_ours(status) => status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// Leaves word for the access log.
    pub(crate) fn note(self, extensions: &Extensions) {
        let Some(notes) = Notes::of(extensions) else { return };
        notes.error_type(self.as_str());
        let flag = match self {
            Self::Timeout => Flag::UpstreamTimeout,
            Self::Deadline => Flag::DeadlinePassed,
            Self::Connect | Self::Tls => Flag::UpstreamConnectFailure,
            Self::ConnectionReset | Self::Protocol | Self::Body => Flag::UpstreamReset,
            Self::Refused(_) => Flag::UpstreamOverflow,
            Self::Decode | Self::TooLarge | Self::Status(_) | Self::Other => return,
        };
        notes.flag(flag);
    }
}

fn of_one(error: &(dyn Error + 'static)) -> Option<Cause> {
    if error.is::<LengthLimitError>() {
        return Some(Cause::TooLarge);
    }
    if error.is::<tokio::time::error::Elapsed>() || error.is::<Idle>() {
        return Some(Cause::Timeout);
    }
    if error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
        return Some(if broke_the_rules(error) { Cause::Tls } else { Cause::Connect });
    }
    if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_connect) {
        return Some(Cause::Connect);
    }
    if let Some(error) = error.downcast_ref::<h2::Error>().filter(|error| !error.is_io()) {
        return Some(if error.is_remote() { Cause::ConnectionReset } else { Cause::Protocol });
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        if error.is_parse() {
            return Some(Cause::Protocol);
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Some(Cause::ConnectionReset);
        }
    }
    let broken = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
    ];
    let kind = error.downcast_ref::<io::Error>()?.kind();
    broken.contains(&kind).then_some(Cause::ConnectionReset)
}

/// What is left is how a connection broke on which a client has sent a request. An error of the body that it had to send is
/// none of that.
fn of_broken(error: &(dyn Error + 'static)) -> Option<Cause> {
    if !error.is::<legacy::Error>() && !error.is::<ClientError>() {
        return None;
    }
    let error = error.source()?.downcast_ref::<hyper::Error>().filter(|error| !error.is_user())?.source()?;
    let io = match error.downcast_ref::<h2::Error>() {
        Some(error) => error.get_io(),
        None => error.downcast_ref(),
    };
    // TLS 1.3 tells of a certificate that it misses when the handshake is over for who should have shown it.
    let broke_the_rules = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    io.map(|error| if broke_the_rules(error) { Cause::Tls } else { Cause::ConnectionReset })
}

/// Whether the client can do nothing about what a service says so, or would have to be told more than a problem says: what
/// methods there are (RFC 9110 §15.5.6), what to upgrade to (§15.5.22), and what a proxy or a connection wants that is ours.
fn is_ours(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::UPGRADE_REQUIRED
    )
}

/// Whether what stands behind an error while connecting is data that should not have come: rustls tells so, TCP never.
fn broke_the_rules(error: &(dyn Error + 'static)) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData) {
            return true;
        }
        // `source` of an `io::Error` leaves out the one that it holds.
        next = match io.and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    false
}

/// The digits of a status code, for as long as the program runs: 100 to 999, every code that there can be.
fn digits(status: StatusCode) -> &'static str {
    static DIGITS: [[u8; 3]; 900] = {
        let mut table = [*b"000"; 900];
        let mut code = 100;
        while code < 1000 {
            table[code - 100] = [ascii(code / 100), ascii(code / 10 % 10), ascii(code % 10)];
            code += 1;
        }
        table
    };
    #[allow(clippy::cast_possible_truncation, reason = "a digit")]
    const fn ascii(digit: usize) -> u8 {
        b'0' + digit as u8
    }
    let digits = usize::from(status.as_u16()).checked_sub(100).and_then(|at| DIGITS.get(at));
    digits.and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use hyper_util::{
        client::legacy::connect::{Connected, Connection},
        rt::{TokioExecutor, TokioIo},
    };
    use std::{
        convert::Infallible,
        future::ready,
        pin::Pin,
        task::{Context, Poll, Waker},
    };
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// A connection that takes a request and breaks in this way.
    struct Breaks {
        how: io::ErrorKind,
        waits: Option<Waker>,
        has_request: bool,
    }

    impl AsyncRead for Breaks {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.waits = Some(cx.waker().clone());
            if self.has_request { Poll::Ready(Err(self.how.into())) } else { Poll::Pending }
        }
    }

    impl AsyncWrite for Breaks {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.has_request = true;
            if let Some(waits) = self.waits.take() {
                waits.wake();
            }
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Connection for Breaks {
        fn connected(&self) -> Connected {
            Connected::new()
        }
    }

    async fn of_request(how: io::ErrorKind, body: Body) -> Cause {
        let connect =
            move |_| ready(Ok::<_, Infallible>(TokioIo::new(Breaks { how, waits: None, has_request: false })));
        let client = legacy::Client::builder(TokioExecutor::new()).build(tower::service_fn(connect));
        let error = client.request(Request::put("http://orders/").body(body).expect("a request")).await;
        Cause::of_send(&error.expect_err("no answer"))
    }

    #[tokio::test]
    async fn however_a_connection_breaks_before_the_head_it_has_broken() {
        use io::ErrorKind::{ConnectionReset, HostUnreachable, InvalidData, NetworkDown, TimedOut, UnexpectedEof};
        for how in [ConnectionReset, UnexpectedEof, TimedOut, HostUnreachable, NetworkDown] {
            assert_eq!(of_request(how, Body::empty()).await, Cause::ConnectionReset, "{how}");
        }
        assert_eq!(of_request(InvalidData, Body::empty()).await, Cause::Tls);
    }

    #[tokio::test]
    async fn what_the_body_of_a_request_breaks_of_is_not_the_connection() {
        for how in [io::ErrorKind::InvalidData, io::ErrorKind::TimedOut, io::ErrorKind::Other] {
            let body = Body::from_stream(futures_util::stream::iter([Err::<&str, _>(io::Error::from(how))]));
            assert_eq!(of_request(io::ErrorKind::ConnectionReset, body).await, Cause::Other, "{how}");
        }
    }

    #[test]
    fn a_status_is_its_digits() {
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).expect("a status");
            assert_eq!(Cause::Status(status).as_str(), status.as_str());
        }
    }

    #[test]
    fn only_what_the_client_did_wrong_is_passed_on_as_its_own_status() {
        let of = |code| Cause::Status(StatusCode::from_u16(code).expect("a status")).gateway_status().as_u16();
        assert_eq!((of(404), of(429), of(407), of(500), of(503), of(302)), (404, 429, 502, 502, 502, 502));
        assert_eq!(Cause::Refused(Refusal::new("breaker_open")).gateway_status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(Cause::Deadline.gateway_status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
