//! The run itself.

use super::{
    plan::{Plan, Target},
    tally::{Outcome, Tally, Trouble},
};
use crate::stack::X_TENANT_ID;
use axum::body::Body;
use bartizan_gateway::{Client, client};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::{future::Future, pin::pin, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

/// How long anybody waits for an answer, counted from when the request was due.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is shown how far the run is.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// Sends what `plan` says, until `stop` ends, and tells `show` now and then how it goes.
///
/// It takes [`PATIENCE`] longer than the plan at most.
pub(crate) async fn send(plan: &Plan, stop: impl Future, mut show: impl FnMut(&Tally)) -> Tally {
    let client = client();
    let start = Instant::now();
    let mut tally = Tally::new(plan.rate);
    let mut in_flight = JoinSet::new();
    let mut next = 0;
    let mut stop = pin!(stop);
    let mut shown = interval(SHOWN_EVERY);
    shown.set_missed_tick_behavior(MissedTickBehavior::Delay);

    while next < plan.requests() || !in_flight.is_empty() {
        let due = start + plan.due(next);
        tokio::select! {
            Some(outcome) = in_flight.join_next() => {
                tally.add(&outcome.unwrap_or(Outcome::lost()), start.elapsed());
            }
            () = sleep_until(due), if next < plan.requests() && in_flight.len() < plan.in_flight => {
                in_flight.spawn(one(client.clone(), plan.target.clone(), next, due));
                next += 1;
                tally.sent(due.elapsed(), in_flight.len());
            }
            _ = shown.tick() => show(&tally),
            _ = &mut stop => break,
        }
    }
    tally
}

/// One request, to the last byte of its answer.
async fn one(client: Client, target: Target, nth: u64, due: Instant) -> Outcome {
    let answered = async {
        let request = Request::get(target.nth(nth)).header(X_TENANT_ID, target.tenant);
        let request = request.body(Body::empty()).map_err(|_| Trouble::Broken)?;
        let response = client.request(request).await.map_err(|error| match error.is_connect() {
            true => Trouble::Connect,
            false => Trouble::Broken,
        })?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| Trouble::Broken)?;
        }
        let partial = head.headers.get("x-bartizan-complete").is_some_and(|complete| complete == "?0");
        Ok::<(StatusCode, bool), Trouble>((head.status, partial))
    };
    let result = timeout_at(due + PATIENCE, answered).await.unwrap_or(Err(Trouble::Timeout));
    Outcome { result, latency: due.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Percentile;
    use axum::{Router, routing::get};
    use bartizan_gateway::{bind, serve};
    use std::{future::pending, net::SocketAddr, sync::Arc};
    use tokio::{net::TcpListener, sync::Mutex, time::sleep};

    fn plan(addr: SocketAddr, rate: u32, time: Duration, in_flight: usize) -> Plan {
        Plan { target: Target::new(addr, &["/".to_owned()], "acme").unwrap(), rate, time, in_flight }
    }

    async fn listener() -> TcpListener {
        bind(([127, 0, 0, 1], 0).into()).await.expect("a free port")
    }

    #[tokio::test]
    async fn a_stall_is_charged_to_everybody_who_was_due_meanwhile() {
        // In real time, as it is about sockets: 100 a second for a second, of which the server is deaf for half.
        let deaf = Arc::new(Mutex::new(()));
        let gate = Arc::clone(&deaf);
        let app = Router::new().route("/", get(async move || drop(gate.lock().await)));
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app).run());
        // All at once, or one at a time: who waits for a place waits, too.
        for in_flight in [256, 1] {
            let deaf = Arc::clone(&deaf);
            tokio::spawn(async move {
                sleep(Duration::from_millis(300)).await;
                let _held = deaf.lock().await;
                sleep(Duration::from_millis(500)).await;
            });
            let tally = send(&plan(addr, 100, Duration::from_secs(1), in_flight), pending::<()>(), |_| ()).await;
            assert_eq!((tally.good(), tally.goodput()), (100, 1.0), "{tally}");
            // Fifty were due while it was deaf, and the last of them waited least.
            assert!((0.3..0.8).contains(&tally.share_over(Duration::from_millis(100))), "{tally}");
            assert!(tally.at(Percentile::P95) > Duration::from_millis(350), "{tally}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_waited_for_so_long_and_no_longer() {
        let silent = listener().await;
        let plan = plan(silent.local_addr().unwrap(), 50, Duration::from_secs(2), 4);
        let start = Instant::now();
        let tally = send(&plan, pending::<()>(), |_| ()).await;
        assert!(start.elapsed() <= plan.time + PATIENCE + Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!((tally.answered(), tally.ended()), (0, 100), "{tally}");
        assert!(tally.to_string().contains("at most 4 in flight"), "{tally}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_told_to() {
        let silent = listener().await;
        let plan = plan(silent.local_addr().unwrap(), 10, Duration::from_secs(60), 256);
        let start = Instant::now();
        let tally = send(&plan, sleep(Duration::from_secs(3)), |_| ()).await;
        assert!(start.elapsed() < Duration::from_secs(4));
        assert_eq!(tally.answered(), 0);
    }
}
