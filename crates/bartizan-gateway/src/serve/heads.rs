//! How long a client has for the head of a request.

use hyper::rt::{Sleep, Timer};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// Counts the heads of one connection: those that are waited for, and those that came.
///
/// hyper would set a timer for each, and take it back as soon as the head is there, which costs as much as finding a
/// response in the cache. So what it takes for a timer only counts, and [`late`](Self::late) looks at the count now and then.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// Odd while a head is waited for. All of it happens in the task of the connection.
    turn: AtomicU64,
    first: Notify,
}

/// What is seen of the count from one look to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    turn: u64,
    looks: u32,
}

/// A head may take as many of these, and what is left of one when it is begun: thirty seconds, or up to five more.
const LOOK: Duration = Duration::from_secs(5);
const LOOKS: u32 = 6;

// ===== impl Heads =====

impl Heads {
    /// What hyper takes for its timer.
    pub(super) fn timer(self: &Arc<Self>) -> impl Timer + Send + Sync + 'static {
        Counting { heads: Arc::clone(self), now: Instant::now() }
    }

    /// The head of a request is there.
    pub(super) fn came(&self) {
        let turn = self.turn();
        self.turn.store((turn | 1) + 1, Ordering::Relaxed);
        if turn <= 1 {
            self.first.notify_one();
        }
    }

    /// Ends when the head of a first request has come.
    pub(super) async fn first(&self) {
        self.first.notified().await;
    }

    /// Ends when a head has been waited for too long.
    pub(super) async fn late(&self) {
        let mut seen = Seen::default();
        while seen.looks < LOOKS {
            sleep(LOOK).await;
            seen = seen.then(self.turn());
        }
    }

    fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }
}

// ===== impl Seen =====

impl Seen {
    fn then(self, turn: u64) -> Self {
        let waits_still = turn == self.turn && turn % 2 == 1;
        Self { turn, looks: if waits_still { self.looks + 1 } else { 0 } }
    }
}

/// hyper waits for a head when it asks for a time to sleep, and for that alone.
struct Counting {
    heads: Arc<Heads>,
    now: Instant,
}

/// Nobody is woken by this.
struct Never;

impl Timer for Counting {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        let heads = &self.heads;
        heads.turn.store(heads.turn() | 1, Ordering::Relaxed);
        Box::pin(Never)
    }

    #[expect(clippy::disallowed_types, reason = "hyper's word for it")]
    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(Duration::MAX)
    }

    #[expect(clippy::disallowed_types, reason = "hyper's word for it")]
    fn now(&self) -> std::time::Instant {
        self.now.into_std()
    }
}

impl Sleep for Never {}

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    fn waits(heads: &Arc<Heads>) {
        drop(heads.timer().sleep_until(heads.timer().now()));
    }

    async fn is_late_within(heads: &Heads, seconds: u64) -> bool {
        timeout(Duration::from_secs(seconds), heads.late()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_thirty_seconds_and_up_to_five_more() {
        let heads = Arc::<Heads>::default();
        waits(&heads);
        assert!(!is_late_within(&heads, 34).await);
        assert!(is_late_within(&heads, 36).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_slowly_is_not_late_and_each_head_has_the_whole_time() {
        let heads = Arc::<Heads>::default();
        assert!(!is_late_within(&heads, 300).await, "nothing is waited for");
        waits(&heads);
        heads.came();
        assert!(!is_late_within(&heads, 300).await, "it is being answered");
        let in_time = async {
            for _ in 0..20 {
                waits(&heads);
                sleep(Duration::from_secs(29)).await;
                heads.came();
            }
        };
        tokio::select! {
            () = in_time => {}
            () = heads.late() => panic!("none of them took thirty seconds"),
        }
        let began = Instant::now();
        waits(&heads);
        heads.late().await;
        let last = began.elapsed();
        assert!((30..=35).contains(&last.as_secs()), "{last:?}");
    }

    #[tokio::test]
    async fn the_first_request_is_told_of_whenever_it_came() {
        let heads = Arc::<Heads>::default();
        waits(&heads);
        assert!(timeout(Duration::ZERO, heads.first()).await.is_err());
        heads.came();
        heads.came();
        heads.first().await;
    }
}
