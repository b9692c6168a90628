//! What takes its time.

use super::{
    seen::has_orders,
    stage::{Answer, Result, Stage},
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Asks ten times a second until `enough`, or until the time is over. `path` tells what for, each time.
pub(super) async fn until(
    stage: &Stage,
    time: Duration,
    path: impl Fn(usize) -> String,
    enough: impl Fn(&Answer) -> bool,
) -> Result<Vec<Answer>> {
    let end = Instant::now() + time;
    let mut answers = Vec::new();
    while Instant::now() < end && !answers.last().is_some_and(&enough) {
        answers.push(stage.get(&path(answers.len()), "acme").await?);
        sleep(Duration::from_millis(100)).await; // real time: as those who wait for a service do
    }
    Ok(answers)
}

/// Asks for dashboards until, for as long as a breaker takes to let in nearly everybody, all of them have had their orders.
/// `false` if that does not come.
pub(super) async fn everybody_gets_in(stage: &mut Stage) -> Result<bool> {
    let mut since = Instant::now();
    for user in stage.strangers(200) {
        let answer = stage.get(&format!("/dashboard/web/u{user}"), "acme").await?;
        if !has_orders(&answer) {
            since = Instant::now();
        } else if since.elapsed() > Duration::from_millis(2_500) {
            return Ok(true);
        }
        sleep(Duration::from_millis(100)).await; // real time: as those who wait for a service do
    }
    Ok(false)
}

/// Asks for dashboards until both replicas of the orders take part again: only calls show a breaker that all is well.
pub(super) async fn both_replicas_take_part(stage: &Stage) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        let before = (stage.received("orders-a", "GET").await?, stage.received("orders-b", "GET").await?);
        stage.ask(10, "/dashboard/mobile/u1", "acme").await?;
        let after = (stage.received("orders-a", "GET").await?, stage.received("orders-b", "GET").await?);
        if after.0 - before.0 >= 3 && after.1 - before.1 >= 3 {
            return Ok(());
        }
    }
    Err("the replicas of the orders did not both come back".into())
}
