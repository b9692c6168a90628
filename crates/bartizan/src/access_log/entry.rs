//! An entry of the log from when the request comes until its last byte has left.

use super::{
    event,
    line::{Ended, Line},
    log::Log,
    record::Record,
    spare,
};
use crate::shared::{End, Watch};
use http::{Request, Response};
use http_body::Body;
use std::{fmt, sync::Arc, thread};
use tokio::time::Instant;
use tracing::Span;

/// An entry of the log that is still open.
///
/// It rides first in the future and then in the response's body, and both end it exactly once. One word, since both
/// have room for it whether they carry one or not.
pub struct Entry(Box<Record>);

// ===== impl Entry =====

impl Entry {
    /// Opens an entry for a request, if anybody reads the log or wants the span, and leaves the notes in it for the
    /// layers further in.
    #[inline]
    pub(super) fn open<B>(log: &Arc<Log>, request: &mut Request<B>) -> Option<Self> {
        let is_read = log.is_read();
        (is_read || log.in_span).then(|| Self(Self::record(log, is_read, request)))
    }

    fn record<B>(log: &Arc<Log>, is_read: bool, request: &mut Request<B>) -> Box<Record> {
        let mut record = spare::take();
        if log.in_span {
            record.span = Some(event::span(request));
        }
        if is_read {
            record.log = Some(Arc::clone(log));
            record.request(request, log);
        }
        record
    }

    /// Runs a part of the service in its span, if it has one.
    #[inline]
    pub(super) fn in_span<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.0.span.as_ref().map(Span::enter);
        f()
    }

    /// Notes the head of the response.
    pub(super) fn answered<B: Body>(&mut self, response: &Response<B>) {
        self.0.span = None;
        self.0.response(response);
    }

    fn ended(&self, end: End) -> Ended {
        match end {
            End::Complete => Ended::Complete,
            End::Failed => Ended::Failed,
            End::Dropped if self.0.is_all_sent() => Ended::Complete,
            End::Dropped if thread::panicking() => Ended::Panicked,
            End::Dropped => Ended::ClientGone,
        }
    }
}

impl Watch for Entry {
    fn data(&mut self, bytes: usize) {
        self.0.bytes_out += bytes as u64;
    }

    fn end(self, end: End) {
        let ended = self.ended(end);
        let Self(mut record) = self;
        let noted = record.notes.recycle();
        let is_free = noted.is_some();
        if let Some(log) = record.log.take() {
            let noted = noted.unwrap_or_else(|| record.notes.lock().clone());
            log.write(&Line::of(&log, &record, &noted, ended, Instant::now()));
        }
        // Somebody who still holds the notes could write into those of another request.
        if is_free {
            spare::give_back(record);
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("record", &self.0).finish_non_exhaustive()
    }
}
