//! What a log knows, and where its lines go.

use super::{
    event,
    format::Format,
    layer::Event,
    level::Levels,
    line::{Line, Names},
    redact::Redact,
    sample::Sample,
};
use crate::shared::TrustedProxies;
use http::request;
use std::{
    borrow::Cow,
    cell::Cell,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::level_filters::LevelFilter;

/// What a log knows, and where its lines go. One for all clones of a layer.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) service: Option<Arc<str>>,
    pub(super) proxies: TrustedProxies,
    pub(super) user: Option<TextOf>,
    pub(super) route: Option<TextOf>,
    pub(super) with_query: bool,
    pub(super) redact: Redact,
    pub(super) levels: Levels,
    pub(super) names: Names,
    pub(super) sample: Sample,
    pub(super) slow_after: Duration,
    pub(super) in_span: bool,
    pub(super) sink: Sink,
    pub(super) observer: Option<Observer>,
}

/// A text that a user's function finds in the head of a request.
pub(super) type TextOf = Arc<dyn for<'a> Fn(&'a request::Parts) -> Option<Cow<'a, str>> + Send + Sync>;

pub(super) type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Where lines go.
#[derive(Clone)]
pub(super) enum Sink {
    Tracing,
    Writer { writer: Arc<Mutex<dyn io::Write + Send>>, format: Format },
}

// ===== impl Log =====

impl Log {
    pub(super) fn new() -> Self {
        Self {
            service: None,
            proxies: TrustedProxies::none(),
            user: None,
            route: None,
            with_query: true,
            redact: Redact::new(),
            levels: Levels::DEFAULT,
            names: Names::Snake,
            sample: Sample::all(),
            slow_after: Duration::from_secs(1),
            in_span: false,
            sink: Sink::Tracing,
            observer: None,
        }
    }

    /// Whether a line would reach anybody, whatever comes of the request.
    #[inline]
    pub(super) fn is_read(&self) -> bool {
        match self.sink {
            Sink::Tracing => LevelFilter::current() != LevelFilter::OFF && event::is_enabled(self.levels.loudest()),
            Sink::Writer { .. } => true,
        }
    }

    /// Whether a function wants to see the head of each request.
    pub(super) fn wants_heads(&self) -> bool {
        self.user.is_some() || self.route.is_some() || self.proxies.wants_heads()
    }

    /// Referring pages stand in no log that does not show them.
    pub(super) fn wants_referer(&self) -> bool {
        matches!(self.sink, Sink::Writer { format: Format::Combined, .. })
    }

    /// Writes a line, if it is not left out by the sample.
    pub(super) fn write(&self, line: &Line<'_>) {
        let told = if self.keeps(line) { self.write_kept(line) } else { Ok(false) };
        if let Err(error) = &told {
            warn_that_lines_are_lost(error);
        }
        if let Some(observer) = &self.observer {
            observer(&match &told {
                Ok(true) => Event::Logged,
                Ok(false) => Event::LeftOut,
                Err(error) => Event::Lost(error),
            });
        }
    }

    fn keeps(&self, line: &Line<'_>) -> bool {
        line.is_remarkable() || line.duration >= self.slow_after || self.sample.takes(&line.record.request_id)
    }

    fn write_kept(&self, line: &Line<'_>) -> io::Result<bool> {
        match &self.sink {
            Sink::Tracing => event::emit(line, self.names),
            Sink::Writer { writer, format } => with_buffer(|text| {
                format.write(line, self.names, text);
                // A writer that has panicked may have written half a line; the next ones are whole again.
                writer.lock().unwrap_or_else(PoisonError::into_inner).write_all(text)
            })?,
        }
        Ok(true)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut log = f.debug_struct("Log");
        log.field("service", &self.service).field("names", &self.names).field("levels", &self.levels);
        log.field("sample", &self.sample).field("slow_after", &self.slow_after);
        match &self.sink {
            Sink::Tracing => log.field("to", &"tracing"),
            Sink::Writer { format, .. } => log.field("to", format),
        };
        log.finish_non_exhaustive()
    }
}

/// Lends the thread's buffer, empty.
pub(super) fn with_buffer<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local!(static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
    const ROOM_TO_KEEP: usize = 64 * 1024;

    // Taken out meanwhile: a writer that ends another request on this thread finds an empty one in its place.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= ROOM_TO_KEEP {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

fn warn_that_lines_are_lost(error: &io::Error) {
    use std::sync::atomic::{AtomicBool, Ordering};
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(%error, "a line of the access log could not be written; this is told once");
    }
}
