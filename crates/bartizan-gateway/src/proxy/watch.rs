//! What the access log is told of a body that breaks off.

use crate::{Cause, upload::Upload};
use bartizan::{End, Flag, Notes, Watch};

/// Tells the access log when the service breaks off in the middle of its answer.
#[derive(Debug)]
pub struct UpstreamWatch(pub(super) Option<Notes>, pub(super) Option<Upload>);

// ===== impl UpstreamWatch =====

impl Watch for UpstreamWatch {
    fn end(self, end: End) {
        let (Self(Some(notes), upload), End::Failed) = (self, end) else { return };
        if upload.is_some_and(|upload| upload.failed()) {
            return notes.flag(Flag::ClientGone);
        }
        notes.flag(Flag::UpstreamReset);
        notes.error_type(Cause::Body.as_str());
    }
}
