//! The end of the story: many ask at once, and each for somebody of whom nothing is stored.

use super::{
    seen::{all, is_refused, millis, percent, statuses},
    stage::{Answer, Result, Stage},
    wait::{both_replicas_take_part, everybody_gets_in, until},
};
use crate::load::{Percentile, Tally};
use std::time::Duration;

pub(super) async fn a_service_has_too_much_to_do(stage: &mut Stage) -> Result<()> {
    const MANY: u32 = 40;
    stage.step("A service has too much to do, and says so to whoever asks");
    // More of its calls go well now than fail later, even if each is made twice: its breaker has no reason to open.
    let mut well = Vec::new();
    while well.len() < 100 {
        well.extend(ask_for_strangers(stage, 20).await?);
    }
    stage.claim("while it is well, everybody is answered", all(&well, Answer::is_ok), statuses(&well));
    stage.chaos("users --latency 100ms --error-rate 1 --status 429").await?;
    let before = stage.received("users", "GET").await?;
    let answers = ask_for_strangers(stage, MANY).await?;
    let again = stage.received("users", "GET").await?.saturating_sub(before + u64::from(MANY));
    stage.claim("some are sent again, which may help", again > 0, format!("{again} of {MANY}"));
    stage.claim(
        "not all: to ask twice as much is no help, and so many at once the budget does not grant",
        again <= u64::from(MANY * 3 / 4),
        format!("{} of {MANY}", u64::from(MANY).saturating_sub(again)),
    );
    stage.claim("its breaker has no part in that", !answers.iter().any(is_refused), statuses(&answers));
    stage.chaos("users heal").await
}

async fn ask_for_strangers(stage: &mut Stage, count: u32) -> Result<Vec<Answer>> {
    let users = stage.strangers(count);
    stage.ask_at_once(users.map(|user| format!("/users/u{user}")), "acme").await
}

pub(super) async fn under_load(stage: &mut Stage) -> Result<()> {
    stage.step("All of it under load: 50 dashboards a second, each of somebody else");
    both_replicas_take_part(stage).await?;
    everybody_gets_in(stage).await?;
    let (before, _) = load(stage, "before", 2).await?;
    stage.chaos("users --error-rate 0.1").await?;
    stage.chaos("orders-a --down").await?;
    stage.chaos("recommendations --latency 2s").await?;
    let (during, [orders, recommendations]) = load(stage, "meanwhile", 4).await?;
    stage.chaos("heal").await?;
    let users = stage.strangers(400);
    let has_its_own = |answer: &Answer| answer.source("recommendations") == "ok";
    let user = |nth| format!("/dashboard/web/u{}", *users.start() as usize + nth);
    // Its breaker asks three times, and one in five answers is late by nature: now and then it has to ask again later.
    let back = until(stage, Duration::from_secs(40), user, has_its_own).await?.last().is_some_and(has_its_own);
    both_replicas_take_part(stage).await?;
    let all_back = everybody_gets_in(stage).await?;
    let (after, _) = load(stage, "after", 2).await?;

    stage.claim("before, everybody gets a dashboard with their orders", with_orders(&before) >= 0.99, told(&before));
    stage.claim("meanwhile too, but for a few", with_orders(&during) >= 0.95, told(&during));
    let p99 = during.at(Percentile::P99);
    stage.claim(
        "and nobody waits for what is slow or broken",
        p99 < Duration::from_millis(800),
        format!("p99 {}", millis(p99)),
    );
    stage.claim(
        "which has its peace soon",
        orders.max(recommendations) <= during.due() / 2,
        format!("orders-a asked {orders} times and recommendations {recommendations} times, of {}", during.due()),
    );
    let seen = format!("recommendations: {back}, all else: {all_back}");
    stage.claim("healed, they take part again without anybody's help", back && all_back, seen);
    let whole = ["user", "orders", "notifications"].map(|source| after.lacking(source)) == [0; 3];
    stage.claim(
        "after, everybody gets all again, but for recommendations that are late now and then",
        after.goodput() >= 0.99 && whole,
        told(&after),
    );
    Ok(())
}

/// What came of the load, and how often it had the two asked that are slow or broken meanwhile.
async fn load(stage: &mut Stage, when: &str, seconds: u32) -> Result<(Tally, [u64; 2])> {
    const RATE: u32 = 50;
    let (mut tally, mut asked) = load_once(stage, RATE, seconds).await?;
    // Who can't send in time can't answer in time either: what this shows is another program's doing.
    for slower in [2, 4] {
        if tally.latest() < Duration::from_millis(100) {
            break;
        }
        let rate = RATE / slower;
        stage.tell(format!("{when}: this machine is busy with something else, so once more, at {rate} a second"));
        everybody_gets_in(stage).await?;
        (tally, asked) = load_once(stage, rate, seconds * slower).await?;
    }
    let at = |percentile| millis(tally.at(percentile));
    let (p50, p95, p99) = (at(Percentile::P50), at(Percentile::P95), at(Percentile::P99));
    stage.tell(format!("{when:<10} {:>6}    p50 {p50:>6}  p95 {p95:>6}  p99 {p99:>6}", percent(&tally)));
    Ok((tally, asked))
}

/// Each dashboard is that of another stranger.
async fn load_once(stage: &mut Stage, rate: u32, seconds: u32) -> Result<(Tally, [u64; 2])> {
    let users = stage.strangers(rate * seconds);
    let path = format!("/dashboard/web/u{{{}-{}}}", users.start(), users.end());
    let [orders, recommendations] = received(stage).await?;
    let tally = stage.load(rate, Duration::from_secs(seconds.into()), &path).await?;
    let asked = received(stage).await?;
    Ok((tally, [asked[0] - orders, asked[1] - recommendations]))
}

async fn received(stage: &Stage) -> Result<[u64; 2]> {
    Ok([stage.received("orders-a", "GET").await?, stage.received("recommendations", "GET").await?])
}

/// The share of those due that got a dashboard with their orders.
fn with_orders(tally: &Tally) -> f64 {
    tally.good().saturating_sub(tally.lacking("orders")) as f64 / tally.due().max(1) as f64
}

/// `100.0 %, without orders 3, without recommendations 41`.
fn told(tally: &Tally) -> String {
    let lacks = ["user", "orders", "notifications", "recommendations"].map(|source| (source, tally.lacking(source)));
    let lacks = lacks.iter().filter(|(_, count)| *count > 0);
    lacks.fold(percent(tally), |told, (source, count)| format!("{told}, without {source} {count}"))
}
