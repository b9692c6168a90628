//! Each law is held against a layer that breaks it, and every law against layers that keep them all.

use super::{
    broken::{Counting, Fault, Hasty, InFlight, Late, MeddledBody, Meddling, body_meddled, meddled},
    *,
};
use bytes::Bytes;
use http::{Request, Response};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};
use tower::util::{MapErrLayer, MapFutureLayer, MapRequestLayer, MapResponseLayer};
use tower_layer::Identity;

laws! {
    identity => Subject::new(Identity::new());
    a_counter_made_before_the_layer => Subject::new(Counting::shared()).promise(Counting::shared(), first_is_unique);
    a_permit_held_by_the_body => {
        let count = Arc::new(AtomicUsize::new(0));
        let layer = InFlight { count: Arc::clone(&count), fault: None };
        Subject::new(layer).at_rest(move || count.load(Relaxed) == 0)
    };
    a_layer_that_answers_by_itself => Subject::new(Late).answers_by_itself();
}

fn first_is_unique(answers: &[Response<Bytes>]) {
    let firsts = answers.iter().filter(|answer| answer.headers()["x-number"] == "0").count();
    assert_eq!(firsts, 1, "of {} answers", answers.len());
}

/// Fails unless `law` panics, with a sentence that names it.
#[track_caller]
fn breaks<L>(law: impl Fn(&Subject<L>), subject: Subject<L>) {
    let subject = subject.named("the_culprit");
    let outcome = catch_unwind(AssertUnwindSafe(|| law(&subject)));
    let panic = outcome.expect_err("the broken layer passed");
    let message = panic.downcast_ref::<String>().expect("a message that was put together");
    assert!(message.contains("the_culprit breaks the law that"), "{message}");
}

// ===== State =====

#[test]
fn a_layer_that_makes_state_in_layer_is_caught() {
    let promised = || Subject::new(Counting::per_application()).promise(Counting::per_application(), first_is_unique);
    breaks(laws::state_is_shared_over_a_hundred_applications, promised());
    breaks(laws::state_is_shared_over_all_routes_methods_and_connections, promised());
}

#[test]
fn a_layer_that_lets_nothing_through_is_caught() {
    let failing = MapFutureLayer::new(|_| std::future::ready(Err::<Response<ProbeBody>, _>(ProbeError(0))));
    breaks(laws::state_is_shared_over_a_hundred_applications, Subject::new(failing));
}

// ===== Readiness =====

#[test]
fn a_call_on_a_fresh_clone_is_caught() {
    breaks(laws::the_inner_service_is_called_only_when_ready, Subject::new(Hasty { asks: true }));
}

#[test]
fn a_layer_that_does_not_ask_whether_the_service_is_ready_is_caught() {
    breaks(laws::the_inner_service_is_called_only_when_ready, Subject::new(Hasty { asks: false }));
    breaks(laws::a_busy_inner_service_makes_the_layer_busy, Subject::new(Hasty { asks: false }));
    breaks(laws::a_readiness_error_comes_out_as_it_went_in, Subject::new(Hasty { asks: false }));
}

/// It says that it has answers of its own, and waits for the service all the same.
#[test]
fn a_layer_that_answers_by_itself_and_waits_before_it_sees_the_request_is_caught() {
    let waits = || Subject::new(Identity::new()).answers_by_itself();
    breaks(laws::a_busy_inner_service_makes_the_layer_busy, waits());
    breaks(laws::a_readiness_error_comes_out_as_it_went_in, waits());
}

#[test]
fn a_layer_that_answers_by_itself_and_calls_a_service_that_is_not_ready_is_caught() {
    let hasty = || Subject::new(Hasty { asks: false }).answers_by_itself();
    breaks(laws::a_busy_inner_service_makes_the_layer_busy, hasty());
    breaks(laws::a_readiness_error_comes_out_as_it_went_in, hasty());
    breaks(laws::the_inner_service_is_called_only_when_ready, hasty());
}

/// Who does not say so is held to be ready no sooner than the service.
#[test]
fn a_layer_that_is_ready_too_soon_without_saying_so_is_caught() {
    breaks(laws::a_busy_inner_service_makes_the_layer_busy, Subject::new(Late));
    breaks(laws::a_readiness_error_comes_out_as_it_went_in, Subject::new(Late));
}

// ===== Letting go =====

fn in_flight(fault: Fault) -> Subject<InFlight> {
    let count = Arc::new(AtomicUsize::new(0));
    let layer = InFlight { count: Arc::clone(&count), fault: Some(fault) };
    Subject::new(layer).at_rest(move || count.load(Relaxed) == 0)
}

#[test]
fn a_permit_that_an_unused_service_keeps_is_caught() {
    breaks(laws::a_service_dropped_when_ready_leaks_nothing, in_flight(Fault::TakesWhenReady));
}

#[test]
fn a_permit_that_a_dropped_future_keeps_is_caught() {
    breaks(laws::a_future_dropped_at_any_poll_leaks_nothing, in_flight(Fault::CountsDownAfterAwait));
}

#[test]
fn a_future_that_outlives_its_drop_is_caught() {
    let detached = MapFutureLayer::new(|future: ProbeFuture<ProbeBody>| {
        let task = tokio::spawn(future);
        async move { task.await.expect("no panic") }
    });
    breaks(laws::a_future_dropped_at_any_poll_leaks_nothing, Subject::new(detached));
}

#[test]
fn a_permit_that_a_dropped_body_keeps_is_caught() {
    breaks(laws::a_body_dropped_at_any_poll_leaks_nothing, in_flight(Fault::ReleasesOnlyAtTheEnd));
}

#[test]
fn a_permit_that_goes_back_at_the_headers_is_caught() {
    breaks(laws::what_is_lent_is_held_until_the_body_ends, in_flight(Fault::ReleasesAtTheHeaders));
}

#[test]
fn a_permit_that_goes_back_only_when_the_body_is_dropped_is_caught() {
    breaks(laws::what_is_lent_is_held_until_the_body_ends, in_flight(Fault::ReleasesOnlyOnDrop));
}

// ===== Waking =====

#[test]
fn a_future_that_wakes_itself_is_caught() {
    let spinning = MapFutureLayer::new(|future: ProbeFuture<ProbeBody>| meddled(future, Meddling::Spins));
    breaks(laws::a_waiting_future_sleeps_until_woken, Subject::new(spinning));
}

#[test]
fn a_future_that_nobody_wakes_is_caught() {
    let deaf = MapFutureLayer::new(|future: ProbeFuture<ProbeBody>| meddled(future, Meddling::IsDeaf));
    breaks(laws::a_waiting_future_sleeps_until_woken, Subject::new(deaf));
}

#[test]
fn a_follower_that_spins_while_another_leads_is_caught() {
    let leading = Arc::new(AtomicBool::new(false));
    let coalescing = MapFutureLayer::new(move |future: ProbeFuture<ProbeBody>| {
        let leads = !leading.swap(true, Relaxed);
        let leading = Arc::clone(&leading);
        async move {
            while !leads && leading.load(Relaxed) {
                tokio::task::yield_now().await;
            }
            let answer = future.await;
            leading.store(false, Relaxed);
            answer
        }
    });
    breaks(laws::a_waiting_future_sleeps_until_woken, Subject::new(coalescing));
}

#[test]
fn a_body_that_wakes_itself_is_caught() {
    breaks(laws::a_waiting_body_sleeps_until_woken, Subject::new(body_meddled(Meddling::Spins)));
}

#[test]
fn a_body_that_nobody_wakes_is_caught() {
    breaks(laws::a_waiting_body_sleeps_until_woken, Subject::new(body_meddled(Meddling::IsDeaf)));
}

// ===== Passing =====

#[test]
fn a_request_that_loses_something_is_caught() {
    let law = laws::the_request_reaches_the_service_untouched;
    breaks(
        law,
        Subject::new(MapRequestLayer::new(|mut request: Request<ProbeBody>| {
            request.extensions_mut().clear();
            request
        })),
    );
    let law = laws::the_request_reaches_the_service_untouched;
    breaks(
        law,
        Subject::new(MapRequestLayer::new(|mut request: Request<ProbeBody>| {
            // One value of two: the classic of `insert` where `append` was meant.
            let value = request.headers()["x-probe-field"].clone();
            request.headers_mut().insert("x-probe-field", value);
            request
        })),
    );
    let law = laws::the_request_reaches_the_service_untouched;
    breaks(
        law,
        Subject::new(MapRequestLayer::new(|mut request: Request<ProbeBody>| {
            *request.version_mut() = http::Version::HTTP_11;
            request
        })),
    );
    let law = laws::the_request_reaches_the_service_untouched;
    breaks(
        law,
        Subject::new(MapRequestLayer::new(|request: Request<ProbeBody>| {
            request.map(|body| MeddledBody { inner: body, how: Meddling::SwallowsTrailers })
        })),
    );
}

#[test]
fn a_response_made_anew_is_caught() {
    let law = laws::the_response_head_passes_untouched;
    breaks(
        law,
        Subject::new(MapResponseLayer::new(|response: Response<ProbeBody>| {
            let (head, body) = response.into_parts();
            let mut anew = Response::new(body);
            *anew.status_mut() = head.status;
            *anew.headers_mut() = head.headers;
            anew
        })),
    );
}

#[test]
fn a_status_that_is_changed_is_caught() {
    let law = laws::the_response_head_passes_untouched;
    breaks(
        law,
        Subject::new(MapResponseLayer::new(|mut response: Response<ProbeBody>| {
            if response.status().is_server_error() {
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            }
            response
        })),
    );
}

#[test]
fn swallowed_trailers_are_caught() {
    breaks(laws::the_body_passes_untouched, Subject::new(body_meddled(Meddling::SwallowsTrailers)));
}

#[test]
fn a_forgotten_size_hint_is_caught() {
    breaks(laws::the_body_passes_untouched, Subject::new(body_meddled(Meddling::ForgetsSizeHint)));
}

#[test]
fn a_forgotten_is_end_stream_is_caught() {
    breaks(laws::the_body_passes_untouched, Subject::new(body_meddled(Meddling::ForgetsIsEndStream)));
}

#[test]
fn another_error_is_caught() {
    let other = MapErrLayer::new(|_: ProbeError| ProbeError(0));
    breaks(laws::an_inner_error_comes_out_as_it_went_in, Subject::new(other.clone()));
    breaks(laws::a_readiness_error_comes_out_as_it_went_in, Subject::new(other));
}

#[test]
fn a_layer_that_stands_in_the_way_of_an_upgrade_is_caught() {
    breaks(laws::an_upgraded_connection_passes_untouched, Subject::new(Counting::shared().in_the_way()));
}
