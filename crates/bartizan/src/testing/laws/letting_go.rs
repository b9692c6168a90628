//! A server drops a future when the client goes, and a body too, at any moment.

use crate::testing::{
    Lawful, Subject,
    body::{Came, ProbeBody, Step},
    drive::{call, dropped_after, on_paused_time, ready, settle},
    probe::{Answer, Gate, Probe, ProbeError, Script},
    subject::Law,
};
use http::{HeaderMap, HeaderValue, Request};
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

/// More polls than any of the requests here should take.
const POLLS: usize = 64;

/// After how long a request that does not come to its end is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that was ready and is dropped uncalled has kept nothing back: a balancer readies many and calls one.
pub fn a_service_dropped_when_ready_leaks_nothing<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a service dropped when ready leaks nothing");
    let probe = probe(Vec::new());
    on_paused_time(async {
        for _ in 0..20 {
            let mut service = subject.layer.layer(probe.clone());
            let readiness = ready(&mut service).await;
            law.holds(readiness.is_ok(), "it is not ready");
            drop(service);
            leaks_nothing(subject, &law, &probe, format_args!("after a drop when ready")).await;
        }
        still_answers(subject, &law, &probe).await;
    });
}

/// The future, dropped after no poll, one poll, two and so on to its end, leaves nothing alive and nothing lent.
pub fn a_future_dropped_at_any_poll_leaks_nothing<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a future dropped at any poll leaks nothing");
    let probe = probe(vec![Step::Data("hello")]);
    on_paused_time(async {
        let mut polls = 0;
        loop {
            let request = request(subject, &probe);
            let mut service = subject.layer.layer(probe.clone());
            let readiness = ready(&mut service).await;
            law.holds(readiness.is_ok(), "it is not ready");
            let ended = dropped_after(polls, service.call(request)).await.is_some();
            leaks_nothing(subject, &law, &probe, format_args!("after a drop at poll {polls}")).await;
            if ended {
                break;
            }
            polls += 1;
            law.holds(polls < POLLS, format_args!("{POLLS} polls are not enough for one request"));
        }
        law.holds(polls > 1, "the future ended before the service inside could have answered");
        still_answers(subject, &law, &probe).await;

        // And once more while the service inside waits for something that never comes.
        let probe = Probe::new(Script { answer_gate: Gate::closed(), ..Script::default() });
        let mut service = subject.layer.layer(probe.clone());
        let _ = timeout(PATIENCE, call(&mut service, request(subject, &probe))).await;
        leaks_nothing(subject, &law, &probe, "after a drop while the service inside waits").await;
    });
}

/// The body, dropped after no poll, one poll, two and so on to its end, leaves nothing alive and nothing lent; so does
/// one that fails.
pub fn a_body_dropped_at_any_poll_leaks_nothing<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a body dropped at any poll leaks nothing");
    let whole = vec![Step::Data("hel"), Step::Pause, Step::Data("lo"), Step::Pause, Step::Trailers(trailers())];
    let broken = vec![Step::Data("hel"), Step::Pause, Step::Fail(ProbeError(3))];
    let waiting = vec![Step::Data("hel"), Step::Wait(Gate::closed()), Step::Data("lo")];
    on_paused_time(async {
        for steps in [whole, broken] {
            let probe = probe(steps);
            let mut polls = 0;
            loop {
                let answer = call(&mut subject.layer.layer(probe.clone()), request(subject, &probe)).await;
                let ended = match answer {
                    Ok(response) => dropped_after(polls, Came::all_of(response.into_body())).await.is_some(),
                    Err(_) => {
                        law.holds(false, "a request failed");
                        break;
                    }
                };
                leaks_nothing(subject, &law, &probe, format_args!("after a drop at poll {polls} of the body")).await;
                if ended {
                    break;
                }
                polls += 1;
                law.holds(polls < POLLS, format_args!("{POLLS} polls are not enough for one body"));
            }
            still_answers(subject, &law, &probe).await;
        }

        let probe = probe(waiting);
        let answer = call(&mut subject.layer.layer(probe.clone()), request(subject, &probe)).await;
        law.holds(answer.is_ok(), "a request failed");
        if let Ok(response) = answer {
            let _ = timeout(PATIENCE, Came::all_of(response.into_body())).await;
        }
        leaks_nothing(subject, &law, &probe, "after a drop while the body inside waits").await;
    });
}

/// What is lent to a request is held until the response's body has ended: not until the headers, nor until the drop of
/// a body that has nothing more to give, which may be kept for as long as its last bytes take.
///
/// It asks [`Subject::at_rest`]; without that there is nothing to check.
pub fn what_is_lent_is_held_until_the_body_ends<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("what is lent is held until the body ends");
    if subject.is_at_rest().is_none() {
        return;
    }
    let steps = [
        vec![Step::Data("hel"), Step::Pause, Step::Data("lo")],
        vec![Step::Data("hello"), Step::Trailers(trailers())],
        vec![Step::Data("hello"), Step::Fail(ProbeError(3))],
    ];
    on_paused_time(async {
        for steps in steps {
            let mut frames = steps.iter().filter(|step| !matches!(step, Step::Pause)).count();
            let probe = probe(steps);
            let answer = call(&mut subject.layer.layer(probe.clone()), request(subject, &probe)).await;
            law.holds(answer.is_ok(), "a request failed");
            let Ok(answer) = answer else { continue };
            let mut body = Box::pin(answer.into_body());
            while frames > 0 {
                let held = subject.is_at_rest() == Some(false);
                law.holds(held, format_args!("all was given back {frames} frames before the end"));
                let _ = Came::out_of(&mut body).await;
                frames -= 1;
            }
            let back = subject.is_at_rest() == Some(true);
            law.holds(back, "the last frame has come out, and what was lent is not back");
            drop(body);
        }
    });
}

fn probe(steps: Vec<Step>) -> Probe {
    let answer = Answer { steps, ..Answer::default() };
    Probe::new(Script { pauses: 8, answer: Ok(answer), ..Script::default() })
}

/// A request whose own body makes the service wait.
fn request<L>(subject: &Subject<L>, probe: &Probe) -> Request<ProbeBody> {
    let body = ProbeBody::new([Step::Pause, Step::Data("ping"), Step::Pause]).live(probe.live());
    let mut request = subject.request_with(body);
    request.extensions_mut().insert(probe.live());
    request
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-probe"), HeaderValue::from_static("end"))])
}

async fn leaks_nothing<L>(subject: &Subject<L>, law: &Law, probe: &Probe, when: impl std::fmt::Display) {
    settle().await;
    let alive = probe.alive();
    law.holds(alive == 0, format_args!("{when}, {alive} requests, futures or bodies are alive"));
    law.holds(subject.is_at_rest() != Some(false), format_args!("{when}, something is lent"));
}

async fn still_answers<L: Lawful>(subject: &Subject<L>, law: &Law, probe: &Probe) {
    let mut service = subject.layer.layer(probe.clone());
    let answer = timeout(PATIENCE, call(&mut service, subject.plain_request()));
    let answered = matches!(answer.await, Ok(Ok(_)));
    law.holds(answered, "after all those drops, a request does not come through");
}
