//! Waiting in line, against what it promises.

use super::*;
use crate::shared::End;
use std::task::{Context, Poll};
use tower::limit::GlobalConcurrencyLimitLayer;

/// One who waits, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(waiting: Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nothing of the service is reserved by those who wait: of two places, one client's line would take both.
#[tokio::test(start_paused = true)]
async fn who_waits_keeps_no_place_in_the_service_from_others() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::from_secs(9), 9);
    let service = layer.layer(GlobalConcurrencyLimitLayer::new(2).layer(service_fn(inner)));
    let began = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let request = request("192.0.2.1");
        waiting.push(tokio::spawn(service.clone().oneshot(request)));
        tokio::task::yield_now().await;
    }
    let served = service.clone().oneshot(request("192.0.2.2")).await.expect("infallible");
    assert_eq!((served.status(), began.elapsed()), (StatusCode::OK, Duration::ZERO));
    for (waited, one) in waiting.into_iter().enumerate() {
        assert_eq!(one.await.expect("no panic").expect("infallible").status(), 200);
        assert_eq!(began.elapsed().as_secs(), waited as u64);
    }
}

/// A service that says `ready` whenever it is asked, and is called only after that.
#[derive(Clone)]
struct Asked {
    ready: Arc<dyn Fn() -> Poll<Result<(), &'static str>> + Send + Sync>,
    is_ready: bool,
}

impl Service<Request<Empty<Bytes>>> for Asked {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Self::Response, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let ready = (self.ready)();
        self.is_ready = ready == Poll::Ready(Ok(()));
        ready
    }

    fn call(&mut self, _: Request<Empty<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "it was asked before");
        std::future::ready(Ok(Response::new(Full::from("served"))))
    }
}

/// The turn has been charged by then, and is settled as any other call that fails or is given up.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_any_more_is_the_calls_error_or_is_waited_for() {
    for (later, end) in [(Poll::Ready(Err("broken")), End::Failed), (Poll::Pending, End::Dropped)] {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ends);
        let layer = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::from_secs(9), 9).settle_by(
            move |outcome| {
                seen.lock().expect("no panic").push(outcome.end());
                0
            },
        );
        let began = Instant::now();
        let ready = Arc::new(move || if began.elapsed().is_zero() { Poll::Ready(Ok(())) } else { later });
        let service = layer.layer(Asked { ready, is_ready: false });
        // The first is held until its body is read, so that the second has to wait for its turn.
        let first = service.clone().oneshot(request("192.0.2.1")).await.expect("it was ready");
        let second = timeout(Duration::from_secs(5), service.oneshot(request("192.0.2.1"))).await;
        match later {
            Poll::Pending => assert!(second.is_err(), "it waits for the service"),
            Poll::Ready(_) => assert_eq!(second.expect("in time").err(), Some("broken")),
        }
        assert_eq!(*ends.lock().expect("no panic"), [end]);
        drop(first);
    }
}

#[tokio::test(start_paused = true)]
async fn whose_turn_it_is_at_once_goes_to_the_service_that_was_ready() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ready = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    });
    let layer = RateLimitLayer::new(TWO).wait_up_to(Duration::from_secs(9), 9);
    let service = layer.layer(Asked { ready, is_ready: false });
    for (asked_before, in_all) in [(0, 1), (1, 2), (2, 4)] {
        assert_eq!(asked.load(Ordering::Relaxed), asked_before);
        assert_eq!(service.clone().oneshot(request("192.0.2.1")).await.expect("ready").status(), 200);
        assert_eq!(asked.load(Ordering::Relaxed), in_all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random arrivals, some of whom give up: those who pass do so in the order in which they came, nobody waits longer
    /// than allowed, no more stand in line than may, and the quota holds throughout.
    #[test]
    fn a_line_is_fair_bounded_and_within_its_quota(
        rate in 1..20_u32, burst in 1..4_u32, queue in 0..6_usize, longest in 0..3000_u64,
        arrivals in prop::collection::vec((0..400_u64, prop::option::weighted(0.2, 0..1500_u64)), 1..40),
    ) {
        let quota = Quota::per_second(rate).burst(burst);
        let longest = Duration::from_millis(longest);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let waiting = Arc::new(AtomicUsize::new(0));
            let layer = RateLimitLayer::new(quota).store(Memory::for_keys(8)).wait_up_to(longest, queue);
            let began = Instant::now();
            let mut tasks = Vec::new();
            for (pause, gives_up) in arrivals {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let (layer, counter) = (layer.clone(), Arc::clone(&waiting));
                tasks.push(tokio::spawn(async move {
                    let came = Instant::now();
                    let counted = Counted::new(counter);
                    let asking = ask(&layer, request("192.0.2.1"));
                    let patience = gives_up.map_or(Duration::from_secs(3600), Duration::from_millis);
                    let status = timeout(patience, asking).await.ok()?.status();
                    drop(counted);
                    // Timers have a grain of a millisecond.
                    assert!(came.elapsed() <= longest + Duration::from_millis(2), "waited {:?}", came.elapsed());
                    (status == 200).then(|| began.elapsed())
                }));
                tokio::task::yield_now().await;
                assert!(waiting.load(Ordering::Relaxed) <= queue, "more wait than may");
            }
            let mut passed = Vec::new();
            for task in tasks {
                passed.extend(task.await.expect("no panic"));
            }
            assert!(passed.is_sorted(), "somebody was overtaken: {passed:?}");
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let replenished = (*to - *from).as_nanos() / quota.interval().as_nanos();
                    assert!((last - first) as u128 <= u128::from(burst) - 1 + replenished);
                }
            }
        });
    }
}
