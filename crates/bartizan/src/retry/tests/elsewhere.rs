//! What a layer further in refuses at one place, and what becomes of it at another.

use super::{
    support::{Events, Say, Upstream, ask, collect, get, post},
    *,
};

/// Two requests at once may both choose the place that takes one more.
#[tokio::test(start_paused = true)]
async fn what_one_place_has_refused_goes_to_another_at_once_and_costs_nothing() {
    #[derive(Clone)]
    struct Tried(bool);
    let budget = Budget::new().share(0.5).reserve_per_second(0).in_flight(1.0, 100);
    let events = Events::default();
    let layer = events.of(RetryLayer::new(THREE).budget(budget.clone())).elsewhere(|refusal, extensions| {
        refusal == Refusal::new("breaker_open") && extensions.get::<Tried>().is_some_and(|tried| !tried.0)
    });
    let upload = || Request::post("/").extension(Tried(false)).body(Full::from("order")).unwrap();
    let mut alone = upload();
    alone.extensions_mut().insert(THREE.only_repeatable());
    for upload in [upload(), alone] {
        let upstream = Upstream::answering([Say::Refusal, Say::Status(201)]);
        let began = Instant::now();
        let answer = ask(&layer, &upstream, upload).await.unwrap();
        assert_eq!((answer.status(), began.elapsed()), (StatusCode::CREATED, Duration::ZERO));
        assert_eq!(upstream.bodies(), ["order"; 2]);
    }
    assert_eq!(events.names(), ["retried Status(503)", "recovered after 2"].repeat(2));
    let (one, two) = (budget.withdraw(), budget.withdraw());
    assert!(one.is_some() && two.is_none(), "each has paid for half of one, once");
    drop(one);

    // There is no other place, or no attempt left.
    let mut nowhere = upload();
    nowhere.extensions_mut().insert(Tried(true));
    for (request, calls) in [(nowhere, 1), (post(), 1), (upload(), 3)] {
        let refusing = Upstream::answering([Say::Refusal]);
        let answer = ask(&layer, &refusing, request).await.unwrap();
        assert_eq!(answer.extensions().get(), Some(&Refusal::new("breaker_open")));
        assert_eq!((refusing.calls(), collect(answer).await.as_str()), (calls, "status 503"));
    }
}

/// What was withdrawn for the attempt that was refused is spent on the one that is sent, and on none if none is.
#[tokio::test(start_paused = true)]
async fn a_retry_that_goes_elsewhere_is_paid_for_once() {
    for (says, calls) in [
        ([Say::Status(503), Say::Refusal, Say::Status(200)], [true, false]),
        ([Say::Status(503), Say::Refusal, Say::Refusal], [true, true]),
    ] {
        let budget = Budget::new().share(0.0).reserve_per_second(2).over(Duration::from_secs(1)).in_flight(1.0, 100);
        let layer = RetryLayer::new(THREE).budget(budget.clone()).elsewhere(|_, _| true);
        let upstream = Upstream::answering(says);
        ask(&layer, &upstream, get()).await.unwrap();
        assert_eq!(upstream.calls(), 3);
        let left = [budget.withdraw(), budget.withdraw()];
        assert_eq!([left[0].is_some(), left[1].is_some()], calls);
    }
}

/// The next hop would take a first call for a retry, and have half of its attempts for it.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_refused_on_this_side_is_none_to_the_next_hop() {
    let layer = RetryLayer::new(RetryPolicy::attempts(6)).elsewhere(|_, _| true);
    let retry = || Request::get("/").extension(Attempt::new(4)).body(Full::default()).unwrap();
    let said = [Say::Refusal, Say::Refusal, Say::Status(503), Say::Refusal, Say::Status(200)];
    for (request, says, told) in [
        (get(), &said[..], [None, None, None, Some(2), Some(2)].as_slice()),
        (retry(), &said[1..3], &[Some(4), Some(4), Some(4)]),
    ] {
        let upstream = Upstream::answering(says.iter().cloned());
        ask(&layer, &upstream, request).await.unwrap();
        assert_eq!(upstream.attempts(), told);
        let fields = told.iter().map(|told| told.map_or(String::new(), |number: u32| number.to_string()));
        assert_eq!(upstream.told(), fields.collect::<Vec<_>>());
    }
}
