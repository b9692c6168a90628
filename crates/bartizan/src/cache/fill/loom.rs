//! Every interleaving of two readers and of what wakes them: nobody waits in vain.

use super::{Abandoned, Fill, Outcome, Plan, Reader, on_current_runtime};
use bytes::Bytes;
use http_body::{Body, Frame};
use loom::{
    model::Builder,
    sync::{Condvar, Mutex},
    thread,
};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

/// Three threads have more interleavings than can be tried: those in which a thread is interrupted three times at most.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// One chunk that comes from another thread, and the end.
struct Fed(Mutex<(Option<Bytes>, Option<Waker>)>);

struct FedBody {
    fed: Arc<Fed>,
    is_over: bool,
}

impl Fed {
    fn body() -> (Arc<Self>, FedBody) {
        let fed = Arc::new(Self(Mutex::new((None, None))));
        (Arc::clone(&fed), FedBody { fed, is_over: false })
    }

    fn feed(&self) {
        let mut fed = self.0.lock().unwrap();
        fed.0 = Some(Bytes::from_static(b"it"));
        let waker = fed.1.take();
        drop(fed);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Body for FedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut fed = self.fed.0.lock().unwrap();
        if let Some(data) = fed.0.take() {
            drop(fed);
            self.is_over = true;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        // Only the last waker counts.
        fed.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// What a thread sleeps on. If it is never woken, the model says so.
struct Sleeper(Mutex<bool>, Condvar);

impl Sleeper {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(false), Condvar::new()))
    }

    fn sleep(&self) {
        let mut woken = self.0.lock().unwrap();
        while !*woken {
            woken = self.1.wait(woken).unwrap();
        }
        *woken = false;
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn read_all(mut reader: Reader) -> usize {
    let sleeper = Sleeper::new();
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut read = 0;
    loop {
        match Pin::new(&mut reader).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => sleeper.sleep(),
            Poll::Ready(None) => return read,
            Poll::Ready(Some(frame)) => read += frame.unwrap().into_data().unwrap().len(),
        }
    }
}

fn start(body: FedBody) -> (Arc<Fill>, Reader, Arc<Mutex<usize>>) {
    let told = Arc::new(Mutex::new(0));
    let tells = Arc::clone(&told);
    let plan = Plan { expected: None, limit: 100, abandoned: Abandoned::Drop, spawn: on_current_runtime() };
    let (fill, reader) = Fill::start(body, plan, move |outcome| {
        assert!(matches!(outcome, Outcome::Whole { .. }));
        *tells.lock().unwrap() += 1;
    });
    (fill, reader, told)
}

#[test]
fn loom_two_readers_read_what_a_third_thread_brings() {
    check(|| {
        let (fed, body) = Fed::body();
        let (fill, first, told) = start(body);
        let second = fill.reader(None).unwrap();
        let reads = thread::spawn(move || read_all(second));
        let feeds = thread::spawn(move || fed.feed());
        assert_eq!(read_all(first), 2);
        assert_eq!(reads.join().unwrap(), 2);
        feeds.join().unwrap();
        assert_eq!(*told.lock().unwrap(), 1);
    });
}

#[test]
fn loom_one_that_polls_once_and_leaves_strands_nobody() {
    check(|| {
        let (fed, body) = Fed::body();
        let (fill, first, told) = start(body);
        let mut second = fill.reader(None).unwrap();
        let leaves = thread::spawn(move || {
            let waker = Waker::from(Sleeper::new());
            let _ = Pin::new(&mut second).poll_frame(&mut Context::from_waker(&waker));
        });
        let feeds = thread::spawn(move || fed.feed());
        assert_eq!(read_all(first), 2);
        leaves.join().unwrap();
        feeds.join().unwrap();
        assert_eq!(*told.lock().unwrap(), 1);
    });
}
