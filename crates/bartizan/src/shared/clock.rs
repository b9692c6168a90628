//! Wall time, in one place. Everything that is measured or waited for uses `tokio::time` instead.

use std::time::SystemTime;

/// The date and time that a person would read off the wall. It may jump; never subtract two of them.
#[allow(clippy::disallowed_methods, reason = "the one reader of wall time")]
pub(crate) fn wall_now() -> SystemTime {
    SystemTime::now()
}
