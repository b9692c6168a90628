//! What a second thread brings, and what it costs.

use crate::{
    cases::Terms,
    check::warm_up,
    fixture::{CLIENTS, Requests},
    run::{Run, Subject, send},
    time::{median, process_time},
};
use std::time::Duration;
use tokio::{runtime::Runtime, task::yield_now, time::Instant};

/// Sixteen tasks over one worker, and over two, in turns.
pub(crate) struct Threads;

/// There are at least so many rounds, and as many more as this time allows.
const ROUNDS: usize = 7;
const LONG_ENOUGH: Duration = Duration::from_millis(800);
const TASKS: usize = 16;
/// A task gives way to others after so many requests, so that no worker runs dry.
const TURN: u32 = 64;
const TURNS: u32 = 12;

/// How long all requests took: on the wall, and of the processors' time.
#[derive(Clone, Copy, Debug)]
struct Round {
    wall: Duration,
    processor: Duration,
}

impl Run for Threads {
    /// The best round of one worker and of two, in seconds, because others on the machine only take away; and the
    /// processor time of two to that of one, by the median.
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String> {
        let (one, two) = (workers(1), workers(2));
        let mut tasks: Vec<_> = (0..TASKS).map(|task| Requests::new(terms.peer, task * CLIENTS / TASKS)).collect();
        one.block_on(warm_up(&service, &mut tasks[0]));
        let (mut ones, mut twos) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while ones.len() < ROUNDS || began.elapsed() < LONG_ENOUGH {
            for (runtime, rounds) in [(&one, &mut ones), (&two, &mut twos)] {
                let (start, processor) = (Instant::now(), process_time());
                tasks = runtime.block_on(round(&service, tasks));
                rounds.push(Round { wall: start.elapsed(), processor: process_time() - processor });
            }
        }
        let best = |rounds: &[Round]| rounds.iter().map(|round| round.wall).min().unwrap_or_default().as_secs_f64();
        let cost = |rounds: &[Round]| {
            median(&mut rounds.iter().map(|round| round.processor.as_secs_f64()).collect::<Vec<_>>())
        };
        Ok(format!("{:.6} {:.6} {:.2}", best(&ones), best(&twos), cost(&twos) / cost(&ones)))
    }
}

async fn round<S: Subject>(service: &S, tasks: Vec<Requests>) -> Vec<Requests> {
    let spawn = |mut requests: Requests| {
        let service = service.clone();
        tokio::spawn(async move {
            for _ in 0..TURNS {
                send(&service, &mut requests, TURN).await;
                yield_now().await;
            }
            requests
        })
    };
    let running: Vec<_> = tasks.into_iter().map(spawn).collect();
    let mut tasks = Vec::new();
    for task in running {
        tasks.push(task.await.expect("no task panics"));
    }
    tasks
}

fn workers(n: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_time().build().expect("a runtime")
}
