//! What is waited for beside what happens all the time.

use pin_project_lite::pin_project;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

pin_project! {
    /// A future that is polled when it has been woken itself, and not whenever the task is that waits for it.
    pub(super) struct Seldom<F> {
        #[pin]
        future: F,
        alarm: Arc<Alarm>,
        waker: Waker,
        // Whom the alarm wakes.
        task: Option<Waker>,
    }
}

struct Alarm {
    rang: AtomicBool,
    task: Mutex<Waker>,
}

// ===== impl Seldom =====

impl<F: Future> Seldom<F> {
    pub(super) fn new(future: F) -> Self {
        let alarm = Arc::new(Alarm { rang: AtomicBool::new(true), task: Mutex::new(Waker::noop().clone()) });
        Self { future, waker: Arc::clone(&alarm).into(), alarm, task: None }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            *this.alarm.task() = cx.waker().clone();
            *this.task = Some(cx.waker().clone());
        }
        // Cleared before it is polled: whatever wakes it from then on counts.
        if !this.alarm.rang.load(Ordering::Relaxed) || !this.alarm.rang.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        this.future.poll(&mut Context::from_waker(this.waker))
    }
}

// ===== impl Alarm =====

impl Alarm {
    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let task = self.task().clone();
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, pin::pin, time::Duration};
    use tokio::{sync::Notify, time::sleep};

    #[test]
    fn it_is_polled_when_it_is_woken_and_by_whom_it_is_waited_for_last() {
        let polls = Mutex::new(Vec::new());
        let mut seldom = pin!(Seldom::new(poll_fn(|cx| {
            polls.lock().unwrap().push(cx.waker().clone());
            Poll::<()>::Pending
        })));
        let tasks = [(); 2].map(|()| Arc::new(Alarm { rang: false.into(), task: Mutex::new(Waker::noop().clone()) }));
        for task in &tasks {
            for _ in 0..3 {
                let waker = Arc::clone(task).into();
                assert!(seldom.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(polls.lock().unwrap().len(), 1);
        polls.lock().unwrap()[0].wake_by_ref();
        let rang = tasks.each_ref().map(|task| task.rang.load(Ordering::Relaxed));
        assert_eq!(rang, [false, true]);
        assert!(seldom.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(polls.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn timers_and_notices_reach_it() {
        let notify = Notify::new();
        let all = Seldom::new(async {
            sleep(Duration::from_secs(1)).await;
            notify.notified().await;
            sleep(Duration::from_secs(1)).await;
        });
        let other = async {
            sleep(Duration::from_secs(5)).await;
            notify.notify_one();
        };
        tokio::join!(all, other);
    }
}
