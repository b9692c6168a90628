//! Wall time, in one place. Everything that is measured or waited for uses `tokio::time` instead.

use std::time::SystemTime;

/// The date and time that a person would read off the wall. It may jump; never subtract two of them.
#[allow(clippy::disallowed_methods, reason = "the one reader of wall time")]
pub(crate) fn wall_now() -> SystemTime {
    #[cfg(test)]
    if let Some((wall, begun)) = tests::FOLLOWS.get() {
        return wall + begun.elapsed();
    }
    SystemTime::now()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::wall_now;
    use std::{cell::Cell, time::SystemTime};
    use tokio::time::Instant;

    thread_local!(pub(super) static FOLLOWS: Cell<Option<(SystemTime, Instant)>> = const { Cell::new(None) });

    /// On this thread, the wall goes on as the time of its runtime does, until this is dropped.
    #[must_use]
    #[allow(dead_code, reason = "a build with few layers leaves it without a user")]
    pub(crate) fn wall_follows() -> impl Drop {
        struct Follows;

        impl Drop for Follows {
            fn drop(&mut self) {
                FOLLOWS.set(None);
            }
        }

        FOLLOWS.set(Some((wall_now(), Instant::now())));
        Follows
    }
}
