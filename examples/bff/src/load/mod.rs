//! `bff load`: requests at a steady rate, whether or not those before them have been answered.
//!
//! The nth request is due at a time that is known before the first is sent, and its latency counts from then. A service
//! that stalls for a second is charged with that second by every request that was due meanwhile, as it would be by its
//! users; a generator that waits for one answer before it sends the next would report a single slow one. So would one that,
//! when it is stopped, forgets those who are still waiting.
//!
//! Everything is bounded: the rate, the time, how many are in flight at once, and how long anybody waits for an answer.

mod path;
mod plan;
mod progress;
mod send;
mod tally;

pub(crate) use self::{
    plan::{Plan, Target},
    progress::Progress,
    send::send,
    tally::{Percentile, Tally},
};

use crate::say;
use std::error::Error;

/// Sends what the plan says and prints how it went. Ctrl-C ends it early.
pub(crate) async fn run(plan: Plan) -> Result<(), Box<dyn Error>> {
    if let Err(error) = plan.target.is_there().await {
        let addr = plan.target.addr();
        let start = format!("such as the demo, with: cargo run -p bff -- --port {}", addr.port());
        return Err(format!("nobody answers on {addr} ({error}): start what should, {start}").into());
    }
    let mut progress = Progress::new(&plan);
    let tally = send(&plan, bartizan_gateway::shutdown_signal(), |tally| progress.show(tally)).await;
    progress.end();
    say(&format!("{plan}\n\n{tally}"));
    Ok(())
}
