//! What becomes of a body when the last reader has left before its end.

use super::{
    state::Next,
    stream::Fill,
    turn::{Drove, Turn},
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// What becomes of a body that nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// A task reads the rest, if its length is known and within the limit. Without a length it might be a stream of
    /// events, which ends never.
    Finish,
    /// It is let go at once.
    Drop,
}

/// Runs a future that nobody waits for. Where it cannot be run it is dropped: that lets the body go.
pub type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;

/// So long may nothing come for nobody.
const IDLE: Duration = Duration::from_secs(30);

/// Spawns on the runtime in which the last reader is dropped, if there is one.
pub(in crate::cache) fn on_current_runtime() -> Spawn {
    Arc::new(|future| {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(future);
        }
    })
}

/// Reads a body to its end for nobody. Readers may join it, and take over if it is dropped.
pub(super) struct Drive {
    fill: Arc<Fill>,
    slot: usize,
    idle: Option<Pin<Box<Sleep>>>,
}

// ===== impl Drive =====

impl Drive {
    pub(super) fn new(fill: Arc<Fill>, slot: usize) -> Self {
        Self { fill, slot, idle: None }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.idle.is_none() && tokio::runtime::Handle::try_current().is_ok() {
            self.idle = Some(Box::pin(tokio::time::sleep_until(Instant::now() + IDLE)));
        }
        self.idle.as_mut().map_or(Poll::Pending, |idle| idle.as_mut().poll(cx))
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let mut state = this.fill.lock();
            // It is ahead of all that came.
            let next = state.next(this.slot, u64::MAX, u64::MAX);
            let said = this.fill.waiting.join(this.slot, cx.waker());
            drop(state);
            drop(said);
            match next {
                Next::Turn(origin) => match Turn::new(&this.fill, this.slot, origin).poll() {
                    Drove::On => this.idle = None,
                    Drove::Pending => return this.poll_idle(cx),
                    Drove::Again => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                },
                Next::Wait => {
                    ready!(this.poll_idle(cx));
                    return Poll::Ready(());
                }
                Next::Data { .. } | Next::Over { .. } | Next::Broken(_) | Next::Held => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.fill.leave(self.slot, true);
    }
}
