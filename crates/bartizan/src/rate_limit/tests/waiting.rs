//! Waiting in line, against what it promises.

use super::*;

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
