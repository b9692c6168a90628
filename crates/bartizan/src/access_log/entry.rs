//! An entry of the log from when the request comes until its last byte has left.

use super::{
    line::{Ended, Line},
    log::Log,
    record::Record,
    spare,
};
use crate::shared::{End, ResponseBody, Watch, wall_now};
use http::{Response, request};
use http_body::Body;
use std::{fmt, sync::Arc, thread};

/// An entry of the log that is still open.
///
/// It rides first in the future and then in the response's body, and both end it exactly once.
pub struct Entry {
    log: Arc<Log>,
    record: Box<Record>,
}

// ===== impl Entry =====

impl Entry {
    /// Opens an entry for a request, and leaves the notes in it for the layers further in.
    pub(super) fn open(log: &Arc<Log>, head: &mut request::Parts) -> Self {
        let mut record = spare::take();
        record.request(head, log);
        Self { log: Arc::clone(log), record }
    }

    /// Lets the entry ride along in the body of the response.
    pub(super) fn answered<B: Body>(mut self, response: Response<B>) -> Response<ResponseBody<B, Self>> {
        self.record.response(&response);
        response.map(|body| ResponseBody::inner(body).watched_by(self))
    }

    fn ended(&self, end: End) -> Ended {
        match end {
            End::Complete => Ended::Complete,
            End::Failed => Ended::Failed,
            End::Dropped if self.record.is_all_sent() => Ended::Complete,
            End::Dropped if thread::panicking() => Ended::Panicked,
            End::Dropped => Ended::ClientGone,
        }
    }
}

impl Watch for Entry {
    fn data(&mut self, bytes: usize) {
        self.record.bytes_out += bytes as u64;
    }

    fn end(self, end: End) {
        let ended = self.ended(end);
        let Self { log, record } = self;
        let duration = record.started.elapsed();
        let noted = record.notes.lock().clone();
        log.write(&Line::of(&log, &record, &noted, ended, wall_now(), duration));
        spare::give_back(record);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("record", &self.record).finish_non_exhaustive()
    }
}
