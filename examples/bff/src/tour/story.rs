//! The story: what goes wrong, and what has to be so meanwhile.

use super::{
    rush,
    seen::{all, cached, has_orders, is_refused, median, millis, of_source, retry_after, slowest, sources, statuses},
    stage::{Answer, Result, Stage},
    wait::{both_replicas_take_part, until},
};
use http::StatusCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const DASHBOARD: &str = "/dashboard/web/u1";
const USER: &str = "/users/u1";

/// Of somebody whom nobody asks for while all is well: nothing is stored.
const STRANGER: &str = "/users/u900";
const STRANGERS_DASHBOARD: &str = "/dashboard/web/u900";

/// What is told of a user is good for five seconds, and becomes stale then.
const UNTIL_STALE: Duration = Duration::from_millis(5_500);

/// Who waits for a service that is slow or down waits for 150 ms at least. As near to that as it goes: the machine may
/// be busy.
const AT_ONCE: Duration = Duration::from_millis(140);

pub(super) async fn play(stage: &mut Stage) -> Result<()> {
    healthy(stage).await?;
    an_optional_service_is_slow(stage).await?;
    a_replica_breaks(stage).await?;
    a_replica_is_slow(stage).await?;
    a_hundred_ask_at_once(stage).await?;
    a_user_changes(stage).await?;
    a_service_is_down(stage).await?;
    it_is_healed(stage).await?;
    an_order_is_placed_once(stage).await?;
    tenants_have_limits(stage).await?;
    rush::a_service_has_too_much_to_do(stage).await?;
    rush::under_load(stage).await
}

async fn healthy(stage: &mut Stage) -> Result<()> {
    stage.step("A dashboard from four services, asked at once");
    let answers = stage.ask(20, DASHBOARD, "acme").await?;
    stage.tell(sources(&answers));
    stage.claim("every one is answered", all(&answers, Answer::is_ok), statuses(&answers));
    let complete = answers.iter().filter(|answer| answer.is_complete()).count();
    stage.claim(
        "most are complete: recommendations are slow now and then",
        complete >= 10,
        format!("{complete} of 20"),
    );
    Ok(())
}

async fn an_optional_service_is_slow(stage: &mut Stage) -> Result<()> {
    stage.step("An optional service takes two seconds");
    stage.chaos("recommendations --latency 2s").await?;
    let answers = stage.ask(10, "/dashboard/web/u901", "acme").await?;
    stage.tell(sources(&answers));
    stage.claim("every dashboard is answered all the same", all(&answers, Answer::is_ok), statuses(&answers));
    let stands_in =
        |answer: &Answer| answer.source("recommendations") == "fallback" && answer.json["recommendations"].is_array();
    stage.claim(
        "with what stands in for the recommendations",
        all(&answers, stands_in),
        of_source(&answers, "recommendations"),
    );
    stage.claim(
        "nobody waits for two seconds",
        slowest(&answers) < Duration::from_millis(500),
        millis(slowest(&answers)),
    );

    let before = stage.received("recommendations", "GET").await?;
    let answers = stage.ask(10, "/dashboard/web/u901", "acme").await?;
    let asked = stage.received("recommendations", "GET").await? - before;
    stage.claim(
        "soon its breaker is open, and it is left alone",
        asked <= 4,
        format!("{asked} of 10 dashboards asked it"),
    );
    stage.claim(
        "so nobody waits for it at all",
        median(&answers) < AT_ONCE,
        format!("{} in the median", millis(median(&answers))),
    );
    let known = stage.get(DASHBOARD, "acme").await?;
    let said = known.source_cached("recommendations");
    stage.claim(
        "who has been here before has their own, from the cache",
        known.is_complete() && matches!(said, "hit" | "stale"),
        format!("recommendations {}, cache: {said}", known.source("recommendations")),
    );
    stage.chaos("recommendations heal").await
}

async fn a_replica_breaks(stage: &mut Stage) -> Result<()> {
    stage.step("One of two replicas breaks every connection");
    stage.chaos("orders-a --down").await?;
    let answers = stage.ask(30, DASHBOARD, "acme").await?;
    let harmed = stage.state("orders-a").await?.harmed;
    stage.claim("it was asked, and failed", harmed > 0, format!("{harmed} requests broke"));
    stage.claim(
        "every dashboard has its orders, from the other one",
        all(&answers, has_orders),
        of_source(&answers, "orders"),
    );
    let before = stage.received("orders-a", "GET").await?;
    let answers = stage.ask(10, DASHBOARD, "acme").await?;
    let asked = stage.received("orders-a", "GET").await? - before;
    stage.claim("soon it is left alone", asked <= 3, format!("{asked} of 10 dashboards asked it"));
    stage.claim("and nobody notices", all(&answers, has_orders), of_source(&answers, "orders"));
    stage.chaos("orders-a heal").await
}

async fn a_replica_is_slow(stage: &mut Stage) -> Result<()> {
    stage.step("One of two replicas takes two seconds");
    both_replicas_take_part(stage).await?;
    stage.chaos("orders-a --latency 2s").await?;
    let before = stage.state("orders-a").await?.harmed;
    let mut answers = stage.ask(10, DASHBOARD, "acme").await?;
    let mut slow = stage.state("orders-a").await?.harmed - before;
    // Which one is asked is a matter of chance, and of a thousand times once it is the other one ten times.
    while slow == 0 && answers.len() < 100 {
        answers.extend(stage.ask(1, DASHBOARD, "acme").await?);
        slow = stage.state("orders-a").await?.harmed - before;
    }
    let of = answers.len();
    stage.claim("it was asked, and did not answer in time", slow > 0, format!("{slow} of {of} dashboards asked it"));
    stage.claim("every dashboard has its orders", all(&answers, has_orders), of_source(&answers, "orders"));
    stage.claim(
        "who was sent there first is sent to the other one in time",
        slowest(&answers) < Duration::from_secs(1),
        format!("{} at most", millis(slowest(&answers))),
    );
    stage.chaos("orders-a heal").await
}

async fn a_hundred_ask_at_once(stage: &mut Stage) -> Result<()> {
    stage.step("A hundred ask at once for a user that nobody has asked for");
    stage.chaos("users --latency 50ms").await?;
    let before = stage.received("users", "GET").await?;
    let answers = stage.ask_at_once(vec!["/users/u77".to_owned(); 100], "acme").await?;
    let asked = stage.received("users", "GET").await? - before;
    stage.claim("the service is asked once", asked == 1, format!("asked {asked} times"));
    stage.claim("and everybody is answered", all(&answers, Answer::is_ok), statuses(&answers));
    let said = |answer: &Answer| matches!(answer.cached(), "collapsed" | "hit" | "uri-miss");
    stage.claim("with word of how", all(&answers, said), cached(&answers));
    stage.chaos("users heal").await?;
    let again = stage.get("/users/u77", "acme").await?;
    stage.claim("who comes later finds it stored", again.cached() == "hit", told(&again));
    let other = stage.get("/users/u77", "globex").await?;
    stage.claim("and another tenant does not", other.cached() == "uri-miss", told(&other));
    Ok(())
}

async fn a_user_changes(stage: &mut Stage) -> Result<()> {
    stage.step("A user changes, and nobody tells the BFF");
    let user = "/users/u78";
    let plan = |answer: &Answer| answer.json["plan"].as_str().unwrap_or("none").to_owned();
    let before = stage.get(user, "acme").await?;
    let changed = stage.change_plan("u78", "team").await?;
    stage.claim("the service knows", plan(&changed) == "team", format!("plan: {}", plan(&changed)));
    let meanwhile = stage.get(user, "acme").await?;
    stage.claim(
        "what is stored is as it was, and good for five seconds",
        plan(&meanwhile) == plan(&before) && meanwhile.cached() == "hit",
        format!("plan: {}, {}", plan(&meanwhile), told(&meanwhile)),
    );
    stage.purge("user-u78").await?;
    let after = stage.get(user, "acme").await?;
    stage.claim(
        "a purge of its tag brings the new one at once",
        plan(&after) == "team" && after.cached() == "uri-miss",
        format!("plan: {}, {}", plan(&after), told(&after)),
    );
    let dashboard = stage.get("/dashboard/web/u78", "acme").await?;
    let (shown, said) = (dashboard.json["user"]["plan"].as_str(), dashboard.source_cached("user"));
    stage.claim(
        "for the dashboard as well, which has it from the same cache",
        shown == Some("team") && said == "hit",
        format!("plan: {}, cache: {said}", shown.unwrap_or("none")),
    );
    Ok(())
}

async fn a_service_is_down(stage: &mut Stage) -> Result<()> {
    stage.step("A service that everybody needs is down");
    let known = stage.get(USER, "acme").await?;
    let stale_from = Instant::now() + UNTIL_STALE;
    stage.tell(format!("{USER} was asked for before it is: {}", told(&known)));
    stage.chaos("users --down").await?;
    let mut first = Vec::new();
    while first.last().is_none_or(|answer| !is_refused(answer)) && first.len() < 60 {
        first.push(stage.get(STRANGER, "acme").await?);
    }
    let asked = first.len() - 1;
    stage.claim("its breaker opens", first.last().is_some_and(is_refused), format!("after {asked} failed requests"));

    let before = stage.received("users", "GET").await?;
    let answers = stage.ask(20, STRANGER, "acme").await?;
    let asked = stage.received("users", "GET").await? - before;
    stage.claim("then who asks for what is not stored is told so", all(&answers, is_refused), statuses(&answers));
    stage.claim(
        "and when to come back",
        all(&answers, |answer| retry_after(answer) > 0),
        format!("Retry-After: {}", retry_after(&answers[0])),
    );
    stage.claim("at once", median(&answers) < AT_ONCE, format!("{} in the median", millis(median(&answers))));
    stage.claim("and the service has its peace", asked <= 3, format!("asked {asked} times for 20 requests"));

    let dashboard = stage.get(STRANGERS_DASHBOARD, "acme").await?;
    let cause = dashboard.json["sources"]["user"]["cause"].as_str().unwrap_or("none");
    stage.claim(
        "a dashboard can't do without it, and says so",
        dashboard.status == StatusCode::SERVICE_UNAVAILABLE && cause == "breaker_open",
        format!("{}, user: {cause}", dashboard.status),
    );

    sleep(stale_from.saturating_duration_since(Instant::now())).await; // real time: as the answer says
    let answers = stage.ask(20, USER, "acme").await?;
    stage.claim(
        "what is stored is stale by now, and an answer all the same",
        all(&answers, |answer| answer.is_ok() && answer.cached() == "stale"),
        format!("{}, {}", statuses(&answers), told(&answers[0])),
    );
    stage.claim("at once, too", median(&answers) < AT_ONCE, format!("{} in the median", millis(median(&answers))));
    let dashboard = stage.get(DASHBOARD, "acme").await?;
    let said = dashboard.source_cached("user");
    stage.claim(
        "and so the dashboard is whole",
        dashboard.is_ok() && dashboard.json["user"]["id"] == "u1" && said == "stale",
        format!("{}, user: {}, cache: {said}", dashboard.status, dashboard.source("user")),
    );
    Ok(())
}

async fn it_is_healed(stage: &mut Stage) -> Result<()> {
    stage.step("It is healed");
    stage.chaos("users heal").await?;
    let start = Instant::now();
    let answers = until(stage, Duration::from_secs(12), |nth| format!("/users/u{}", 100 + nth), Answer::is_ok).await?;
    let back = answers.last().is_some_and(Answer::is_ok);
    stage.claim("a probe finds out, without anybody's help", back, format!("after {}", millis(start.elapsed())));
    let answers = until(stage, Duration::from_secs(6), |nth| format!("/users/u{}", 300 + nth), |_| false).await?;
    let last = &answers[answers.len().saturating_sub(10)..];
    let refused = answers.iter().filter(|answer| is_refused(answer)).count();
    stage.tell(format!("while its breaker closes, {refused} of {} are turned away", answers.len()));
    stage.claim("and then everybody gets in", all(last, Answer::is_ok), statuses(last));
    // The first of these finds it stale, and has it refreshed behind its back.
    let answers = until(stage, Duration::from_secs(3), |_| USER.to_owned(), |answer| answer.cached() == "hit").await?;
    let back = answers.last().map_or("nothing", Answer::cached);
    stage.claim("and what was stale is fresh again", back == "hit", cached(&answers));
    Ok(())
}

async fn an_order_is_placed_once(stage: &mut Stage) -> Result<()> {
    stage.step("An order is placed once");
    both_replicas_take_part(stage).await?;
    for (chaos, what) in [
        ("orders --error-rate 1", "without an Idempotency-Key it is sent once, whatever the answer"),
        ("orders --down", "and once, if there is none"),
    ] {
        stage.chaos(chaos).await?;
        let before = orders_received(stage).await?;
        let answer = stage.order(None).await?;
        let sent = orders_received(stage).await? - before;
        stage.claim(what, sent == 1, format!("sent {sent} times, answered {}", answer.status));
    }
    stage.chaos("orders heal").await?;

    stage.chaos("orders-a --error-rate 1").await?;
    let before = orders_received(stage).await?;
    let mut answers = Vec::new();
    let mut sent = 0;
    while sent == answers.len() as u64 && answers.len() < 20 {
        answers.push(stage.order(Some(&format!("tour-{}", answers.len()))).await?);
        sent = orders_received(stage).await? - before;
    }
    let orders = answers.len();
    let placed = all(&answers, |answer| answer.status == StatusCode::CREATED);
    stage.claim(
        "with one it is sent to the other replica",
        sent > orders as u64,
        format!("{orders} orders, sent {sent} times"),
    );
    stage.claim("so every order is placed", placed, statuses(&answers));
    stage.chaos("orders-a heal").await?;

    let again = stage.order(Some("tour-0")).await?;
    let number = |answer: &Answer| answer.json["id"].as_u64().unwrap_or_default();
    let same = number(&again) == number(&answers[0]) && again.headers.contains_key("idempotent-replayed");
    stage.claim("who asks again is answered the same order", same, format!("number {}", number(&again)));
    let next = number(&stage.order(Some("tour-next")).await?);
    stage.claim(
        "and none was placed twice",
        next == number(&answers[0]) + orders as u64,
        format!("the next is number {next}"),
    );
    Ok(())
}

async fn tenants_have_limits(stage: &mut Stage) -> Result<()> {
    stage.step("One tenant asks for more than it may");
    let (mut globex, mut acme) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        globex.push(stage.get(USER, "globex").await?);
        acme.push(stage.get(USER, "acme").await?);
    }
    let (passed, limited): (Vec<_>, Vec<_>) = globex.iter().partition(|answer| answer.is_ok());
    let all_limited = limited.iter().all(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    stage.claim(
        "globex may have five a second",
        passed.len() >= 5 && !limited.is_empty() && all_limited,
        statuses(&globex),
    );
    let soonest = limited.iter().map(|answer| retry_after(answer)).min().unwrap_or_default();
    stage.claim("and is told when to come back", soonest > 0, format!("Retry-After: {soonest}"));
    stage.claim("acme does not notice", all(&acme, Answer::is_ok), statuses(&acme));
    Ok(())
}

/// What the cache says of it, as it says it.
fn told(answer: &Answer) -> &str {
    answer.headers.get("cache-status").and_then(|said| said.to_str().ok()).unwrap_or("no Cache-Status")
}

async fn orders_received(stage: &Stage) -> Result<u64> {
    Ok(stage.received("orders-a", "POST").await? + stage.received("orders-b", "POST").await?)
}
