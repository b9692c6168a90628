//! What `poll_ready` says is true, and true of the very instance that said it.

use crate::testing::{
    Lawful, Subject,
    drive::{asleep_until_open, call, dropped_after, on_paused_time, ready},
    probe::{Gate, Probe, ProbeError, Script},
};
use tower_service::Service;

/// The inner service is called only on an instance whose `poll_ready` has said so, and once for each time it did.
///
/// A clone of a ready service is not ready: one that holds a permit has left it behind.
pub fn the_inner_service_is_called_only_when_ready<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("the inner service is called only when ready");
    for busy in [0, 2] {
        let probe = Probe::new(Script { busy, pauses: 1, ..Script::default() });
        let failed = on_paused_time(async {
            let mut service = subject.layer.layer(probe.clone());
            let mut failed = 0;
            for _ in 0..3 {
                failed += usize::from(call(&mut service, subject.plain_request()).await.is_err());
            }
            // Two at a time, of which the second is called while the first is under way.
            let _ = ready(&mut service).await;
            let first = service.call(subject.plain_request());
            let _ = ready(&mut service).await;
            let second = service.call(subject.plain_request());
            failed += usize::from(second.await.is_err()) + usize::from(first.await.is_err());
            // A clone that was made of a ready service, and the service after that.
            let _ = ready(&mut service).await;
            let mut clone = service.clone();
            failed += usize::from(service.call(subject.plain_request()).await.is_err());
            failed += usize::from(call(&mut clone, subject.plain_request()).await.is_err());
            failed
        });
        law.holds(failed == 0, format_args!("{failed} of 7 requests failed"));
        law.holds(probe.calls() >= 7, format_args!("of 7 requests {} came through", probe.calls()));
        let early = probe.calls_when_not_ready();
        law.holds(
            early == 0,
            format_args!("{early} of {} calls came to an instance that was not ready", probe.calls()),
        );
    }
}

/// While the inner service is busy, so is the layer: asleep, and awake when the inner one is ready.
///
/// One that [answers by itself](Subject::answers_by_itself) is ready at once, and its call sleeps until then.
pub fn a_busy_inner_service_makes_the_layer_busy<L: Lawful>(subject: &Subject<L>) {
    if subject.answers_by_itself {
        return a_busy_inner_service_makes_the_call_wait(subject);
    }
    let law = subject.law("a busy inner service makes the layer busy");
    let gate = Gate::closed();
    let probe = Probe::new(Script { ready_gate: gate.clone(), ..Script::default() });
    on_paused_time(async {
        let mut service = subject.layer.layer(probe);
        let start = tokio::time::Instant::now();
        let readiness = asleep_until_open(ready(&mut service), &gate).await;
        law.holds(readiness == Ok(Ok(())), format_args!("{readiness:?}"));
        law.holds(!start.elapsed().is_zero(), "it said that it was ready while the inner service was not");
    });
}

fn a_busy_inner_service_makes_the_call_wait<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a layer that answers by itself is ready at once, and its call waits for a busy service");
    let gate = Gate::closed();
    let probe = Probe::new(Script { ready_gate: gate.clone(), ..Script::default() });
    on_paused_time(async {
        let mut service = subject.layer.layer(probe.clone());
        let readiness = dropped_after(1, ready(&mut service)).await;
        law.holds(readiness == Some(Ok(())), format_args!("while the service was busy it was {readiness:?}"));
        let start = tokio::time::Instant::now();
        let answer = asleep_until_open(service.call(subject.plain_request()), &gate).await;
        law.holds(matches!(answer, Ok(Ok(_))), format_args!("{:?}", answer.map(|answer| answer.map(drop))));
        law.holds(!start.elapsed().is_zero(), "its call did not wait");
        let early = probe.calls_when_not_ready();
        law.holds(early == 0, format_args!("{early} calls came to an instance that was not ready"));
    });
}

/// An error of the inner `poll_ready` comes out as the same value.
///
/// Where the layer [answers by itself](Subject::answers_by_itself) it comes out of the call.
pub fn a_readiness_error_comes_out_as_it_went_in<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("a readiness error comes out as it went in");
    let probe = Probe::new(Script { unready: Some(ProbeError(5)), ..Script::default() });
    let (readiness, answer) = on_paused_time(async {
        let mut service = subject.layer.layer(probe);
        let readiness = ready(&mut service).await;
        let answer = match readiness {
            Ok(()) if subject.answers_by_itself => service.call(subject.plain_request()).await.map(drop),
            _ => Ok(()),
        };
        (readiness, answer)
    });
    if subject.answers_by_itself {
        law.holds(
            readiness == Ok(()),
            format_args!("a layer that answers by itself is ready, and it was {readiness:?}"),
        );
        law.same("the error", &answer, &Err(ProbeError(5)));
    } else {
        law.same("the error", &readiness, &Err(ProbeError(5)));
    }
}

/// The service can be cloned, shared, and sent to another task with its future: what every server does with it.
pub fn the_service_is_clone_and_send_and_sync<L: Lawful>(subject: &Subject<L>) {
    fn is_shared(_: &(impl Clone + Send + Sync + 'static)) {}

    let law = subject.law("the service is Clone, Send and Sync");
    let service = subject.layer.layer(Probe::new(Script::default()));
    is_shared(&service);
    on_paused_time(async {
        for _ in 0..3 {
            let mut clone = service.clone();
            let request = subject.plain_request();
            let answer = tokio::spawn(async move { call(&mut clone, request).await.is_ok() }).await;
            law.holds(matches!(answer, Ok(true)), "a clone on another task did not answer");
        }
    });
}
