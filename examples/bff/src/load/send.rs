//! The run itself.

use super::{
    plan::{Plan, Target},
    tally::{Answered, Outcome, Tally, Trouble},
};
use crate::stack::X_TENANT_ID;
use axum::body::Body;
use bartizan_gateway::{Client, client};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use std::{collections::HashMap, future::Future, pin::pin, time::Duration};
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

/// How long anybody waits for an answer, counted from when the request was due.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is shown how far the run is.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// How much of a partial answer is read to learn what it lacks.
const PAGE: usize = 64 * 1024;

/// Sends what `plan` says, until `stop` ends, and tells `show` now and then how it goes.
///
/// It takes [`PATIENCE`] longer than the plan at most. Who was due and has no answer when it is stopped has waited until
/// then, and counts so.
pub(crate) async fn send(plan: &Plan, stop: impl Future, mut show: impl FnMut(&Tally)) -> Tally {
    let client = client();
    let start = Instant::now();
    let mut tally = Tally::new(plan.rate);
    let mut in_flight = InFlight::default();
    let mut next = 0;
    let mut stop = pin!(stop);
    let mut shown = interval(SHOWN_EVERY);
    shown.set_missed_tick_behavior(MissedTickBehavior::Delay);

    while next < plan.requests() || in_flight.len() > 0 {
        let due = start + plan.due(next);
        tokio::select! {
            Some(outcome) = in_flight.next() => tally.add(outcome, start.elapsed()),
            () = sleep_until(due), if next < plan.requests() && in_flight.len() < plan.in_flight => {
                next += 1;
                if due.elapsed() >= PATIENCE {
                    tally.not_sent(Trouble::Timeout, due.elapsed(), start.elapsed());
                    continue;
                }
                in_flight.begin(due, one(client.clone(), plan.target.clone(), next - 1, due));
                tally.sent(due.elapsed(), in_flight.len());
            }
            _ = shown.tick() => show(&tally),
            _ = &mut stop => {
                in_flight.give_up().for_each(|outcome| tally.add(outcome, start.elapsed()));
                let left = (next..plan.requests()).map(|nth| start + plan.due(nth));
                for due in left.take_while(|due| *due <= Instant::now()) {
                    tally.not_sent(Trouble::GivenUp, due.elapsed(), start.elapsed());
                }
                break;
            }
        }
    }
    tally
}

/// The requests that have left and have no answer yet, and when each was due.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<Outcome>,
    due: HashMap<Id, Instant>,
}

// ===== impl InFlight =====

impl InFlight {
    fn len(&self) -> usize {
        self.tasks.len()
    }

    fn begin(&mut self, due: Instant, request: impl Future<Output = Outcome> + Send + 'static) {
        self.due.insert(self.tasks.spawn(request).id(), due);
    }

    async fn next(&mut self) -> Option<Outcome> {
        let ended = self.tasks.join_next_with_id().await?;
        Some(self.outcome(ended))
    }

    fn outcome(&mut self, ended: Result<(Id, Outcome), JoinError>) -> Outcome {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => (error.id(), None),
        };
        let due = self.due.remove(&id).expect("it was noted when it began");
        outcome.unwrap_or_else(|| Outcome { result: Err(Trouble::Broken), latency: due.elapsed() })
    }

    /// Waits for none of them any longer.
    fn give_up(mut self) -> impl Iterator<Item = Outcome> {
        let mut outcomes = Vec::with_capacity(self.len());
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            outcomes.push(self.outcome(ended));
        }
        let given_up =
            self.due.into_values().map(|due| Outcome { result: Err(Trouble::GivenUp), latency: due.elapsed() });
        outcomes.into_iter().chain(given_up)
    }
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
        let partial = head.headers.get("x-bartizan-complete").is_some_and(|complete| complete == "?0");
        let mut page = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Trouble::Broken)?;
            if let Some(data) = frame.data_ref().filter(|data| partial && page.len() + data.len() <= PAGE) {
                page.extend_from_slice(data);
            }
        }
        Ok((head.status, partial.then_some(page)))
    };
    let result = timeout_at(due + PATIENCE, answered).await.unwrap_or(Err(Trouble::Timeout));
    let latency = due.elapsed();
    let result = result.map(|(status, partial)| Answered { status, lacks: partial.map(|page| lacks(&page)) });
    Outcome { result, latency }
}

/// The sources of a partial page that did not bring what they should, as it says itself.
fn lacks(page: &[u8]) -> Vec<String> {
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let sources = page["_meta"]["sources"].as_object().into_iter().flatten();
    let names = sources.filter(|(_, source)| source["status"] != "ok").map(|(name, _)| name);
    // They are printed.
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Percentile;
    use axum::{Router, routing::get};
    use bartizan_gateway::{bind, serve};
    use serde_json::json;
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
    async fn who_is_too_late_to_be_answered_in_time_is_not_sent() {
        let silent = listener().await;
        // Five are due in each millisecond, and one of them may leave: ten seconds later most are past all patience.
        let plan = plan(silent.local_addr().unwrap(), Plan::MAX_RATE, Duration::from_millis(100), 1);
        let tally = send(&plan, pending::<()>(), |_| ()).await;
        assert!(tally.latest() < PATIENCE, "{tally}");
        assert_eq!((tally.due(), tally.troubled(Trouble::Timeout)), (500, 500), "{tally}");
        assert!(tally.max() >= PATIENCE, "{tally}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_told_to() {
        let silent = listener().await;
        // All of them in flight, or few, and the others due all the same.
        for in_flight in [256, 4] {
            let plan = plan(silent.local_addr().unwrap(), 10, Duration::from_secs(60), in_flight);
            let start = Instant::now();
            let tally = send(&plan, sleep(Duration::from_millis(3_050)), |_| ()).await;
            assert!(start.elapsed() < Duration::from_secs(4));
            assert_eq!((tally.answered(), tally.due()), (0, 31), "{tally}");
            assert_eq!((tally.ended(), tally.troubled(Trouble::GivenUp)), (31, 31), "{tally}");
            // The first has waited for all that time, and the median for half of it.
            let near =
                |time: Duration, millis| time.abs_diff(Duration::from_millis(millis)) < Duration::from_millis(100);
            assert!(near(tally.max(), 3_050) && near(tally.at(Percentile::P50), 1_550), "{tally}");
        }
    }

    #[tokio::test]
    async fn what_a_partial_page_lacks_is_read_from_it() {
        let page = json!({ "_meta": { "sources": {
            "user": { "status": "ok" }, "orders": { "status": "error" }, "offers": { "status": "fallback" }, "\u{1b}": {},
        } } });
        assert_eq!(lacks(page.to_string().as_bytes()), ["offers", "orders"]);
        assert!(lacks(b"what is this?").is_empty() && lacks(br#"{"_meta": {"sources": 1}}"#).is_empty());

        let partial = get(async move || ([("x-bartizan-complete", "?0")], page.to_string()));
        let listener = listener().await;
        let addr = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Router::new().route("/", partial)).run());
        let tally = send(&plan(addr, 100, Duration::from_millis(50), 256), pending::<()>(), |_| ()).await;
        assert_eq!((tally.good(), tally.lacking("orders"), tally.lacking("user")), (5, 5, 0), "{tally}");
    }
}
