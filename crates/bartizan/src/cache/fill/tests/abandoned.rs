//! What becomes of a body that nobody reads any more.

use super::{super::*, support::*};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

/// Keeps what it should run.
fn kept() -> (Spawn, Arc<Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>>) {
    let tasks = Arc::<Mutex<Vec<_>>>::default();
    let spawned = Arc::clone(&tasks);
    (Arc::new(move |task| spawned.lock().unwrap().push(task)), tasks)
}

fn is_broken(told: &Told) -> bool {
    matches!(told.once(), Some(Outcome::Broken { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_is_read_to_its_end_by_a_task() {
    let feed = Feed::of([data("one ")]);
    let (fill, mut reading, told) = start(&feed, plan(7, 100, Abandoned::Finish));
    reading.poll();
    drop(reading);
    tokio::task::yield_now().await;
    assert!(told.once().is_none() && !feed.is_dropped());
    let mut late = Reading::new(fill.reader(None).unwrap());
    assert!(late.poll(), "who comes meanwhile reads along");
    drop(late);
    feed.feed(data("two"));
    feed.feed(Step::End);
    tokio::task::yield_now().await;
    assert_eq!(told.once(), whole("one two"));
}

#[tokio::test(start_paused = true)]
async fn a_body_from_which_nothing_comes_is_not_waited_for_for_ever() {
    let feed = Feed::new();
    let (_fill, reading, told) = start(&feed, plan(7, 100, Abandoned::Finish));
    drop(reading);
    tokio::time::sleep(Duration::from_secs(29)).await;
    feed.feed(data("one"));
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(!feed.is_dropped());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(feed.is_dropped() && is_broken(&told));
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_came_to_the_task_goes_on_when_that_gives_up() {
    let feed = Feed::new();
    let (fill, reading, told) = start(&feed, plan(7, 100, Abandoned::Finish));
    drop(reading);
    tokio::task::yield_now().await;
    let mut late = Reading::new(fill.reader(None).unwrap());
    assert!(!late.poll());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(!feed.is_dropped());
    late.poll();
    feed.feed(data("one two"));
    assert!(late.is_woken());
    feed.feed(Step::End);
    assert_eq!(late.drain(), b"one two");
    assert_eq!(told.once(), whole("one two"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_worth_it_is_dropped_at_once() {
    let unknown = plan(None, 100, Abandoned::Finish);
    let too_long = plan(101, 100, Abandoned::Finish);
    for plan in [unknown, too_long, plan(7, 100, Abandoned::Drop)] {
        let feed = Feed::of([data("one")]);
        let (_fill, mut reading, told) = start(&feed, plan);
        reading.poll();
        assert!(!feed.is_dropped());
        drop(reading);
        assert!(feed.is_dropped() && told.once().is_some());
    }
}

#[test]
fn without_a_runtime_the_body_is_let_go() {
    let feed = Feed::of([data("one")]);
    let (fill, mut reading, told) = start(&feed, plan(7, 100, Abandoned::Finish));
    reading.poll();
    drop(reading);
    assert!(feed.is_dropped() && is_broken(&told));
    assert!(fill.reader(None).is_none());
}

#[test]
fn a_runtime_that_goes_lets_the_body_go() {
    let feed = Feed::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let told = runtime.block_on(async {
        let (_fill, reading, told) = start(&feed, plan(7, 100, Abandoned::Finish));
        drop(reading);
        tokio::task::yield_now().await;
        told
    });
    assert!(!feed.is_dropped());
    drop(runtime);
    assert!(feed.is_dropped() && is_broken(&told));
}

#[test]
fn a_reader_that_waits_is_not_stranded_by_a_task_that_is_dropped_at_any_poll() {
    for polls in 0..4 {
        let (spawn, tasks) = kept();
        let feed = Feed::of([data("one ")]);
        let (fill, reading, told) = start(&feed, Plan { spawn, ..plan(7, 100, Abandoned::Finish) });
        drop(reading);
        let mut task = tasks.lock().unwrap().pop().unwrap();
        let mut late = [Some(Reading::new(fill.reader(None).unwrap()))];
        for _ in 0..polls {
            let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            settle(&mut late);
        }
        feed.feed(data("two"));
        drop(task);
        feed.feed(Step::End);
        settle(&mut late);
        assert_eq!(late[0].as_ref().unwrap().bytes, b"one two");
        assert_eq!(told.once(), whole("one two"));
    }
}

#[test]
fn when_the_last_reader_leaves_again_the_task_that_is_there_goes_on() {
    let (spawn, tasks) = kept();
    let feed = Feed::new();
    let (fill, reading, told) = start(&feed, Plan { spawn, ..plan(3, 100, Abandoned::Finish) });
    drop(reading);
    drop(fill.reader(None).unwrap());
    assert_eq!(tasks.lock().unwrap().len(), 1);
    tasks.lock().unwrap().clear();
    assert!(feed.is_dropped() && is_broken(&told), "a task that is dropped is not spawned again");
}
