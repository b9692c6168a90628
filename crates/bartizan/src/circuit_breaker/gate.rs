//! Waiting for a breaker to let calls pass.

use super::core::Core;
use std::{pin::Pin, sync::Arc};
use tokio::time::timeout_at;

/// What a service waits for that is not ready.
pub(super) type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Is there when a call would pass: its time has come, somebody has closed the breaker, or a place for a probe is free.
pub(super) async fn opened(core: Arc<Core>) {
    let mut changes = core.subscribe();
    loop {
        changes.mark_unchanged();
        let Err(at) = core.would_pass() else { return };
        let _ = timeout_at(at, changes.changed()).await;
    }
}
