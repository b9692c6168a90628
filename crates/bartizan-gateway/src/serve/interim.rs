//! Interim responses, which hyper's server has no way to send.

use http::{Extensions, HeaderMap, StatusCode, header};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Sends interim responses (RFC 9110 §15.2) to the client that waits for this one's answer.
///
/// [`serve()`](crate::serve()) puts one into the extensions of each request of HTTP/1.1, and a [`Proxy`](crate::Proxy)
/// passes on by it what the service behind says before its answer, such as `103` (Early Hints). Whatever stands between
/// them has to leave the extension where it is, and nothing else. A handler may use it as well:
///
/// ```
/// use axum::{Router, extract::Request, routing::get};
/// use bartizan_gateway::Interim;
/// use http::{HeaderMap, HeaderValue, StatusCode, header};
///
/// async fn page(request: Request) -> &'static str {
///     let hints = HeaderMap::from_iter([(header::LINK, HeaderValue::from_static("</a.css>; rel=preload"))]);
///     if let Some(interim) = Interim::of(request.extensions()) {
///         interim.send(StatusCode::EARLY_HINTS, &hints);
///     }
///     "what takes a while to make"
/// }
///
/// let app: Router = Router::new().route("/", get(page));
/// ```
///
/// Behind another server, put one of your [own](Self::new) there.
///
/// # What does not arrive
///
/// A client of HTTP/1.0 knows no interim responses (§15.2), and hyper's server has no door for them in HTTP/2, so there
/// the extension is missing. `101` is no interim response but the last word of a connection. `100` is left out where the
/// client expects it, since the server says so itself as soon as the body is asked for. For each request there are
/// sixteen at most, of 16 KiB together; and none once its answer has begun.
#[derive(Clone)]
pub struct Interim(By);

#[derive(Clone)]
enum By {
    /// A connection of [`serve()`](crate::serve()), and the request on it.
    Course(Arc<Course>, u64),
    Function(Arc<dyn Fn(StatusCode, &HeaderMap) + Send + Sync>),
}

/// The most that is sent before one answer.
const HEADS: usize = 16;
const BYTES: usize = 16 * 1024;

/// Which request a connection is answering, and what it has to say before the answer.
#[derive(Default)]
pub(super) struct Course {
    state: Mutex<State>,
    /// Whether something is to be sent: asked whenever hyper writes, so without the lock.
    has_heads: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Which request it is, counted from one.
    request: u64,
    /// Whether that is still without an answer.
    is_open: bool,
    is_100_ours: bool,
    heads: Vec<u8>,
    left: Left,
    /// That of the connection.
    waker: Option<Waker>,
}

struct Left {
    heads: usize,
    bytes: usize,
}

// ===== impl Interim =====

impl Interim {
    /// Sends them by this function.
    pub fn new(send: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(By::Function(Arc::new(send)))
    }

    /// That of the request with these extensions, if its client can be told anything before the answer.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Sends one, with these fields. It is not said whether it arrives.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        match &self.0 {
            By::Course(course, request) => course.send(*request, status, fields),
            By::Function(send) => send(status, fields),
        }
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interim")
    }
}

// ===== impl Course =====

impl Course {
    /// Another request has come, which means that hyper has all of the answer before it. It may not have written it yet.
    pub(super) fn begin(self: &Arc<Self>, is_100_ours: bool) -> Interim {
        let mut state = self.lock();
        state.request += 1;
        state.heads.clear();
        (state.is_open, state.is_100_ours, state.left) = (true, is_100_ours, Left::default());
        Interim(By::Course(Arc::clone(self), state.request))
    }

    /// Ready when all that was to be said before the answer is with the socket: from now on there is nothing more.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.heads.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.is_open = false;
        Poll::Ready(())
    }

    /// Who writes is woken by this.
    pub(super) fn wake_by(&self, waker: &Waker) {
        self.lock().waker = Some(waker.clone());
    }

    /// What is to be written, at a time when hyper has nothing left to write.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        if !self.has_heads.swap(false, Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let heads = std::mem::take(&mut state.heads);
        // Who waits for this with the answer waits in the same task, which may be on its way to sleep.
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
        state.is_open.then_some(heads)
    }

    fn send(&self, request: u64, status: StatusCode, fields: &HeaderMap) {
        let mut state = self.lock();
        let is_ours = status == StatusCode::CONTINUE && state.is_100_ours;
        if !state.is_open || state.request != request || !is_interim(status) || is_ours {
            return;
        }
        let head = render(status, fields);
        let Left { heads, bytes } = &mut state.left;
        let (Some(heads_left), Some(bytes_left)) = (heads.checked_sub(1), bytes.checked_sub(head.len())) else {
            return tracing::debug!(%status, "an interim response more than is sent for one request");
        };
        (*heads, *bytes) = (heads_left, bytes_left);
        state.heads.extend_from_slice(&head);
        self.has_heads.store(true, Ordering::Release);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Left {
    fn default() -> Self {
        Self { heads: HEADS, bytes: BYTES }
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The head on the wire. RFC 9110 §8.6 and RFC 9112 §6.1: an interim response has neither length nor transfer coding,
/// having no body.
fn render(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("")).into_bytes();
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];
    for (name, value) in fields.iter().filter(|(name, _)| !framing.contains(name)) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.append(name, HeaderValue::from_str(value).unwrap());
        fields
    }

    #[test]
    fn a_head_has_no_length_and_no_more_lines_than_fields() {
        let mut both = fields("link", "</a>; rel=preload");
        both.append("link", HeaderValue::from_static("</b>; rel=preload"));
        both.append("content-length", HeaderValue::from_static("3"));
        let head = String::from_utf8(render(StatusCode::EARLY_HINTS, &both)).unwrap();
        assert_eq!(head, "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>; rel=preload\r\n\r\n");
    }

    #[test]
    fn nothing_is_sent_for_a_request_that_is_answered_or_gone() {
        let course = Arc::new(Course::default());
        let hints = |interim: &Interim| interim.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
        let first = course.begin(false);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(course.poll_end(&mut cx).is_ready());
        hints(&first);
        assert_eq!(course.take(), None);
        let second = course.begin(false);
        hints(&first);
        assert_eq!(course.take(), None);
        hints(&second);
        assert!(course.poll_end(&mut cx).is_pending(), "the answer waits");
        assert!(course.take().is_some());
        assert!(course.poll_end(&mut cx).is_ready());
    }

    #[test]
    fn there_are_so_many_and_so_long_and_no_more() {
        let course = Arc::new(Course::default());
        let interim = course.begin(true);
        for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK] {
            interim.send(status, &HeaderMap::new());
        }
        assert_eq!(course.take(), None);
        for _ in 0..HEADS + 5 {
            interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        }
        let heads = String::from_utf8(course.take().unwrap()).unwrap();
        assert_eq!(heads.matches("HTTP/1.1 102 Processing\r\n\r\n").count(), HEADS);
        let interim = course.begin(true);
        interim.send(StatusCode::EARLY_HINTS, &fields("link", &"x".repeat(BYTES)));
        assert_eq!(course.take(), None);
    }
}
