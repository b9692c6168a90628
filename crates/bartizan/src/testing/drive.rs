//! How the laws drive a future: on paused time, for so many polls, and with an eye on who wakes it.

use super::{body::ProbeBody, probe::Gate};
use http::Request;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tokio::time::Instant;
use tower_service::Service;

/// How a future waited that should have slept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restless {
    /// It was polled again and again while nothing had happened.
    Spins,
    /// It was not woken when what it waited for had come.
    NeverWoken,
}

/// Whether a future's own waker was woken.
struct Woken {
    yes: AtomicBool,
    task: Waker,
}

/// Runs a law on a runtime of its own, whose clock stands still while anything is left to do.
///
/// # Panics
/// If an hour passes on that clock: then the future waits for something that never comes.
pub(super) fn on_paused_time<T>(law: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be built");
    let hour = Duration::from_secs(60 * 60);
    runtime.block_on(async { tokio::time::timeout(hour, law).await.expect("nothing waits for an hour") })
}

/// Calls the service on the instance that was polled ready.
pub(super) async fn call<S>(service: &mut S, request: Request<ProbeBody>) -> Result<S::Response, S::Error>
where
    S: Service<Request<ProbeBody>>,
{
    ready(service).await?;
    service.call(request).await
}

/// Waits until the service is ready.
pub(super) async fn ready<S>(service: &mut S) -> Result<(), S::Error>
where
    S: Service<Request<ProbeBody>>,
{
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Polls `future` at most `polls` times, each time it is woken, and drops it if it is pending still.
pub(super) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    if polls == 0 {
        return None;
    }
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Lets whatever a drop has set in motion come to its end.
pub(super) async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Drives `future`, opens `gate` after ten seconds, and sees whether it slept until then and woke up.
///
/// It is polled when its own waker was woken and at no other time: nothing comes along by chance.
pub(super) async fn asleep_until_open<F: Future>(future: F, gate: &Gate) -> Result<F::Output, Restless> {
    /// More than any timer within the ten seconds explains, and few enough to count at once.
    const POLLS: usize = 100;
    let woken =
        poll_fn(|cx| Poll::Ready(Arc::new(Woken { yes: AtomicBool::new(true), task: cx.waker().clone() }))).await;
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(10)));
    let mut polls = 0;
    let mut opened = false;
    poll_fn(|cx| {
        while sleep.as_mut().poll(cx).is_ready() {
            if opened {
                return Poll::Ready(Err(Restless::NeverWoken));
            }
            opened = true;
            gate.open();
            sleep.as_mut().reset(Instant::now() + Duration::from_secs(60));
        }
        if !woken.yes.swap(false, Ordering::Relaxed) {
            return Poll::Pending;
        }
        polls += 1;
        if polls > POLLS {
            return Poll::Ready(Err(Restless::Spins));
        }
        future.as_mut().poll(&mut Context::from_waker(&waker)).map(Ok)
    })
    .await
}

// ===== impl Woken =====

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.yes.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}
