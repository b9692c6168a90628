//! Processor time per request, and clocks for measuring it.

use crate::{
    cases::Terms,
    check::warm_up,
    fixture::{Origin, Requests},
    run::{Run, Subject, runtime, send},
};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The bare service and the case in turns; the median of what the case adds.
pub(crate) struct Time;

const ROUNDS: usize = 201;
const REQUESTS: u32 = 1024;

impl Run for Time {
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String> {
        runtime().block_on(async {
            let mut requests = Requests::new(terms.peer, 0);
            warm_up(&Origin, &mut requests).await;
            warm_up(&service, &mut requests).await;
            let (mut bare, mut added) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let start = thread_time();
                send(&Origin, &mut requests, REQUESTS).await;
                let middle = thread_time();
                send(&service, &mut requests, REQUESTS).await;
                let end = thread_time();
                let per_request = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(REQUESTS);
                bare.push(per_request(middle - start));
                added.push(per_request(end - middle) - per_request(middle - start));
            }
            Ok(format!("{:.1} {:.1}", median(&mut bare), median(&mut added)))
        })
    }
}

/// The processor time that this thread has taken.
pub(crate) fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The processor time that all threads have taken.
pub(crate) fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// The value in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}
