//! What is known of one request, from its head to its end.

use super::log::Log;
use crate::shared::{Context, Notes, Refusal, Sends, content_length, with_head};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, Version, header, request};
use http_body::Body;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::Span;

/// What is known of one request.
///
/// Text is copied into strings that the next request uses again. So a line allocates nothing, and a slow body does not
/// hold on to the connection's read buffer, of which the fields of the head are slices. Empty text is text that is not
/// known.
#[derive(Debug)]
pub(super) struct Record {
    /// Where the line goes; nowhere while nobody reads the log.
    pub(super) log: Option<Arc<Log>>,
    /// Until the head of the response has come.
    pub(super) span: Option<Span>,
    pub(super) started: Instant,
    pub(super) notes: Notes,
    pub(super) request_id: Vec<u8>,
    pub(super) user: String,
    pub(super) client: Option<IpAddr>,
    pub(super) method: Method,
    pub(super) route: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) version: Version,
    /// Text, like the others; as bytes, because most of it is known to be ASCII without being read as UTF-8.
    pub(super) user_agent: Vec<u8>,
    pub(super) referer: String,
    /// What the request announced. Less may have been read, and nothing is known of a chunked one.
    pub(super) bytes_in: Option<u64>,

    pub(super) status: Option<StatusCode>,
    pub(super) refusal: Option<Refusal>,
    pub(super) head_after: Option<Duration>,
    pub(super) bytes_out: u64,
    pub(super) sends: Sends,
}

/// The most of a `User-Agent` or `Referer` that is kept, in bytes.
const LONGEST_USER_AGENT: usize = 256;
const LONGEST_REFERER: usize = 1024;

/// More room than this is not kept for the next request.
const ROOM_TO_KEEP: usize = 4096;

// ===== impl Record =====

impl Record {
    pub(super) fn new() -> Self {
        Self {
            log: None,
            span: None,
            started: Instant::now(),
            notes: Notes::default(),
            request_id: Vec::new(),
            user: String::new(),
            client: None,
            method: Method::GET,
            route: String::new(),
            path: String::new(),
            query: String::new(),
            version: Version::HTTP_11,
            user_agent: Vec::new(),
            referer: String::new(),
            bytes_in: None,
            status: None,
            refusal: None,
            head_after: None,
            bytes_out: 0,
            sends: Sends::UntilTheEnd,
        }
    }

    /// Notes the head of a request, and leaves the notes in it for the layers further in.
    pub(super) fn request<B>(&mut self, request: &mut Request<B>, log: &Log) {
        self.started = Instant::now();
        self.method.clone_from(request.method());
        self.version = request.version();
        self.path.push_str(target(request.uri()));
        if let Some(query) = request.uri().query().filter(|_| log.with_query) {
            log.redact.query(query, &mut self.query);
        }
        if log.wants_heads() {
            with_head(request, |head| self.ask(head, log));
        } else {
            self.client = log.proxies.client_in(request.headers(), request.extensions());
        }
        copy_field(request.headers(), &header::USER_AGENT, LONGEST_USER_AGENT, &mut self.user_agent);
        if log.wants_referer() {
            let mut referer = Vec::new();
            copy_field(request.headers(), &header::REFERER, LONGEST_REFERER, &mut referer);
            log.redact.url(&String::from_utf8_lossy(&referer), &mut self.referer);
        }
        self.bytes_in = content_length(request.headers());

        let context = Context::of_mut(request.extensions_mut());
        if let Some(id) = &context.id {
            self.request_id.extend_from_slice(id.as_header_value().as_bytes());
        }
        match &context.notes {
            Some(notes) => self.notes = notes.clone(), // those of a log further out
            None => context.notes = Some(self.notes.clone()),
        }
    }

    /// Asks the user's functions.
    fn ask(&mut self, head: &request::Parts, log: &Log) {
        self.client = log.proxies.client(head);
        if let Some(user) = log.user.as_ref().and_then(|user| user(head)) {
            self.user.push_str(&user);
        }
        if let Some(route) = log.route.as_ref().and_then(|route| route(head)) {
            self.route.push_str(&route);
        }
    }

    /// Notes the head of the response.
    pub(super) fn response<B: Body>(&mut self, response: &Response<B>) {
        let status = response.status();
        self.status = Some(status);
        self.refusal = response.extensions().get::<Refusal>().copied();
        self.head_after = Some(self.started.elapsed());
        self.sends = Sends::of(&self.method, response);
    }

    /// Whether a server that lets the body go now has had all that it wanted.
    pub(super) fn is_all_sent(&self) -> bool {
        self.sends.are_over(self.bytes_out)
    }

    /// Forgets everything but its room and the notes, for the next request.
    pub(super) fn recycle(&mut self) {
        for text in [&mut self.user, &mut self.route, &mut self.path, &mut self.query, &mut self.referer] {
            text.clear();
            text.shrink_to(ROOM_TO_KEEP);
        }
        self.request_id.clear();
        self.user_agent.clear();
        self.span = None;
        (self.status, self.refusal, self.head_after) = (None, None, None);
        (self.bytes_out, self.sends) = (0, Sends::UntilTheEnd);
    }
}

/// What is asked for: a path, or of `CONNECT`, which has none, the host and port (RFC 9110 §9.3.6).
fn target(uri: &Uri) -> &str {
    match (uri.path(), uri.authority()) {
        ("", Some(authority)) => authority.as_str().rsplit('@').next().unwrap_or_default(),
        (path, _) => path,
    }
}

/// Appends a field as text, of which at most `longest` bytes; what is not UTF-8 becomes `U+FFFD`.
fn copy_field(headers: &HeaderMap, name: &HeaderName, longest: usize, out: &mut Vec<u8>) {
    let Some(value) = headers.get(name) else { return };
    if value.len() <= longest && value.as_bytes().is_ascii() {
        return out.extend_from_slice(value.as_bytes());
    }
    for chunk in value.as_bytes().utf8_chunks() {
        let replacement = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
        for text in [chunk.valid(), replacement] {
            let room = longest.saturating_sub(out.len());
            out.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(room)]);
        }
    }
}
