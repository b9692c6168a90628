//! Who returns `Pending` has seen to it that somebody will wake them, and does not wake themselves.

use crate::testing::{
    Lawful, Subject,
    body::{Came, Step},
    drive::{asleep_until_open, call, on_paused_time},
    probe::{Answer, Gate, Probe, Script},
};
use tokio::task::JoinSet;

/// While the inner service works, nothing is polled; when it has answered, the future is woken and answers too. So do
/// several at a time, of which some may wait for others.
pub fn a_waiting_future_sleeps_until_woken<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a waiting future sleeps until it is woken");
    for at_a_time in [1, 8] {
        let gate = Gate::closed();
        let probe = Probe::new(Script { answer_gate: gate.clone(), ..Script::default() });
        on_paused_time(async {
            let service = subject.layer.layer(probe.clone());
            let mut waiting = JoinSet::new();
            for _ in 0..at_a_time {
                let (mut service, request, gate) = (service.clone(), subject.plain_request(), gate.clone());
                waiting.spawn(async move {
                    let outcome = asleep_until_open(call(&mut service, request), &gate).await;
                    outcome.map(|answer| answer.is_ok())
                });
            }
            for outcome in waiting.join_all().await {
                law.holds(outcome == Ok(true), format_args!("{outcome:?}, {at_a_time} at a time"));
            }
            law.holds(probe.calls() > 0, "no request came through");
        });
    }
}

/// While the inner body has no frame, nothing is polled; when it has one, the body is woken and hands it over.
pub fn a_waiting_body_sleeps_until_woken<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a waiting body sleeps until it is woken");
    let gate = Gate::closed();
    let steps = vec![Step::Data("hel"), Step::Wait(gate.clone()), Step::Data("lo")];
    let probe = Probe::new(Script { answer: Ok(Answer { steps, ..Answer::default() }), ..Script::default() });
    on_paused_time(async {
        let answer = call(&mut subject.layer.layer(probe), subject.plain_request()).await;
        law.holds(answer.is_ok(), "a request failed");
        let Ok(answer) = answer else { return };
        let outcome = asleep_until_open(Came::all_of(answer.into_body()), &gate).await;
        law.holds(outcome.as_ref().is_ok_and(|came| came.last() == Some(&Came::End)), format_args!("{outcome:?}"));
    });
}
