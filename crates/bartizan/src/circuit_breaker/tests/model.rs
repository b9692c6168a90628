//! The breaker beside one that remembers every call in a list and thinks it all over each time.

use super::{
    permit::{self, Permit},
    *,
};
use crate::circuit_breaker::{
    core::{Asked, Core, Handle},
    policy::{Rate, Span},
};
use std::iter;

/// What a caller does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    /// One of the calls that are under way is answered by a good head.
    Answer(usize),
    /// One of the calls that are under way ends so.
    End(usize, Outcome, Option<u64>),
    Drop(usize),
    /// In tenths of a second.
    Wait(u64),
    Reset,
    Force(Mode),
}

struct Model {
    policy: BreakerPolicy,
    now: Duration,
    epoch: u32,
    mode: Mode,
    is: Is,
    /// All calls of this epoch.
    seen: Vec<Seen>,
    /// How many of them there were each time a good head came.
    good_heads: Vec<usize>,
    opened: u32,
    lasted: Duration,
}

enum Is {
    Closed { since: Duration, asked_in_ramp: Option<Vec<Duration>> },
    Open { until: Duration },
    HalfOpen { until: Duration, out: usize, answered: usize, went_well: Vec<bool>, wait: Duration },
}

#[derive(Clone, Copy)]
struct Seen {
    at: Duration,
    outcome: Outcome,
    slow: bool,
    told_to_wait: bool,
    /// After a good head.
    in_body: bool,
}

/// What a permit of the model knows.
#[derive(Clone, Copy)]
struct Call {
    epoch: u32,
    probe: bool,
    started: Duration,
    /// Whether it was slow when its good head came.
    head: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Pass,
    Uncounted,
    Refuse(Duration),
}

impl Model {
    fn new(policy: BreakerPolicy) -> Self {
        let is = Is::Closed { since: Duration::ZERO, asked_in_ramp: None };
        let (now, lasted) = (Duration::ZERO, Duration::ZERO);
        Self {
            policy,
            now,
            epoch: 0,
            mode: Mode::Normal,
            is,
            seen: Vec::new(),
            good_heads: Vec::new(),
            opened: 0,
            lasted,
        }
    }

    fn becomes(&mut self, is: Is) {
        self.is = is;
        self.epoch += 1;
        self.seen.clear();
        self.good_heads.clear();
    }

    fn force(&mut self, mode: Mode) {
        self.mode = mode;
        self.opened = 0;
        self.becomes(Is::Closed { since: self.now, asked_in_ramp: None });
    }

    fn open(&mut self, at_least: Duration) {
        let times = 2_u32.saturating_pow(self.opened);
        let time = self.policy.open.saturating_mul(times).min(self.policy.longest);
        self.lasted = time.max(at_least.min(self.policy.longest_retry_after));
        self.opened += 1;
        self.becomes(Is::Open { until: self.now + self.lasted });
    }

    fn close(&mut self) {
        self.becomes(Is::Closed { since: self.now, asked_in_ramp: Some(Vec::new()) });
        self.time_passes();
    }

    fn half_open(&mut self) {
        let until = self.now + self.lasted * self.policy.half_open_factor;
        let is = Is::HalfOpen { until, out: 0, answered: 0, went_well: Vec::new(), wait: Duration::ZERO };
        if matches!(self.is, Is::HalfOpen { .. }) { self.is = is } else { self.becomes(is) }
    }

    fn time_passes(&mut self) {
        match &mut self.is {
            Is::Closed { since, asked_in_ramp } if self.now >= *since + self.policy.ramp => {
                *asked_in_ramp = None;
                self.opened = 0;
            }
            Is::Open { until } if self.now >= *until => self.half_open(),
            Is::HalfOpen { until, out, answered, went_well, wait } if self.now >= *until => {
                let (some, all) = (*answered > 0 || went_well.contains(&true), !went_well.contains(&false));
                let wait = *wait;
                match (went_well.is_empty() && *out == 0, some && all) {
                    (true, _) => self.half_open(),
                    (_, true) => self.close(),
                    (_, false) => self.open(wait),
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self) -> (Answer, Option<Call>) {
        match self.mode {
            Mode::ForcedOpen => return (Answer::Refuse(self.policy.open), None),
            Mode::Disabled => return (Answer::Uncounted, None),
            Mode::ForcedClosed | Mode::Normal | Mode::Shadow => {}
        }
        self.time_passes();
        let second = Duration::from_secs(1);
        let refused = match &mut self.is {
            Is::Closed { asked_in_ramp: None, .. } => None,
            Is::Closed { since, asked_in_ramp: Some(asked) } => {
                let elapsed = self.now - *since;
                asked.push(elapsed);
                (!passes_ramp(asked, self.policy.ramp)).then_some(second)
            }
            Is::Open { until } => Some(*until - self.now),
            Is::HalfOpen { out, went_well, .. } if *out + went_well.len() < self.policy.probes as usize => {
                *out += 1;
                None
            }
            Is::HalfOpen { .. } => Some(second),
        };
        let probe = matches!(self.is, Is::HalfOpen { .. });
        match refused {
            None => (Answer::Pass, Some(Call { epoch: self.epoch, probe, started: self.now, head: None })),
            Some(_) if self.mode == Mode::Shadow => (Answer::Uncounted, None),
            Some(after) => (Answer::Refuse(after), None),
        }
    }

    fn is_slow(&self, call: Call) -> bool {
        self.policy.slow.is_some_and(|slow| self.now - call.started >= slow.threshold)
    }

    /// A good head has come.
    fn answer(&mut self, call: &mut Call) {
        let slow = self.is_slow(*call);
        call.head = Some(slow);
        if call.epoch != self.epoch {
            return;
        }
        match &mut self.is {
            Is::HalfOpen { answered, .. } if !slow => {
                *answered += 1;
                self.time_passes();
            }
            Is::HalfOpen { .. } | Is::Open { .. } => {}
            Is::Closed { .. } => self.good_heads.push(self.seen.len()),
        }
    }

    fn end(&mut self, call: Call, slow: bool, outcome: Outcome, retry_after: Option<Duration>) {
        if call.epoch != self.epoch {
            return;
        }
        let wait = retry_after.filter(|_| outcome == Outcome::Failure).unwrap_or_default();
        if let Is::HalfOpen { out, answered, went_well, wait: longest, .. } = &mut self.is {
            assert!(call.probe);
            *out -= 1;
            *answered -= usize::from(call.head == Some(false));
            *longest = wait.max(*longest);
            let longest = *longest;
            if outcome != Outcome::Ignored {
                went_well.push(outcome == Outcome::Success && !slow);
            }
            let (well, all) = (went_well.iter().filter(|well| **well).count(), went_well.len());
            let (must, of) = (self.policy.good_probes as usize, self.policy.probes as usize);
            if well >= must {
                self.close();
            } else if all - well > of - must {
                self.open(longest);
            } else {
                self.time_passes();
            }
            return;
        }
        if outcome == Outcome::Ignored {
            return;
        }
        let in_body = call.head.is_some();
        self.seen.push(Seen { at: self.now, outcome, slow, told_to_wait: !wait.is_zero(), in_body });
        if self.mode != Mode::ForcedClosed && (outcome != Outcome::Success || slow) && self.trips() {
            if let Is::Closed { since, .. } = self.is
                && self.now >= since + self.policy.ramp
            {
                self.opened = 0;
            }
            self.open(wait);
        }
    }

    fn window(&self) -> Vec<Seen> {
        match self.policy.window {
            Span::Calls(calls) => self.seen.iter().rev().take(calls as usize).copied().collect(),
            Span::Time(time) => {
                let slice = |at: Duration| at.as_nanos() / (time.as_nanos() / 10);
                self.seen.iter().filter(|seen| slice(self.now) - slice(seen.at) < 10).copied().collect()
            }
        }
    }

    /// What has failed since a call last ended well, the last of it first; but nothing that failed at the head if a good
    /// head came after it, unless that was the only one until the next failure, which was in a body.
    fn series(&self) -> Vec<Seen> {
        let since = self.seen.iter().rposition(|seen| seen.outcome == Outcome::Success).map_or(0, |index| index + 1);
        let fails = |seen: &&Seen| seen.outcome == Outcome::Failure;
        let counts = |index: usize| {
            let after = || self.good_heads.iter().filter(|good| **good > index);
            let Some(first) = after().next() else { return true };
            let next = (*first..self.seen.len()).find(|next| fails(&&self.seen[*next]));
            let was_the_only_one = |next: &usize| after().filter(|good| *good <= next).count() == 1;
            self.seen[index].in_body || next.filter(was_the_only_one).is_some_and(|next| self.seen[next].in_body)
        };
        let failed = (since..self.seen.len()).rev().filter(|index| fails(&&self.seen[*index]));
        failed.filter(|index| counts(*index)).map(|index| self.seen[index]).collect()
    }

    fn trips(&self) -> bool {
        let window = self.window();
        let share = |rate: Rate, part: f64| part >= f64::from(rate.0) / 1e6 * window.len() as f64 - 1e-9;
        let failed = window.iter().map(|seen| match seen.outcome {
            Outcome::Failure => 1.0,
            Outcome::SoftFailure(weight) => f64::from(weight.get()) / 100.0,
            Outcome::Success | Outcome::Ignored => 0.0,
        });
        let failed: f64 = failed.sum();
        let slow = window.iter().filter(|seen| seen.slow).count() as f64;
        let enough = match self.policy.window {
            Span::Calls(calls) => self.policy.minimum.min(calls),
            Span::Time(_) => self.policy.minimum,
        };
        let enough = window.len() >= enough as usize;
        self.policy.consecutive.is_some_and(|most| self.series().len() >= most as usize)
            || enough && self.policy.failures.is_some_and(|rate| share(rate, failed))
            || enough && self.policy.slow.is_some_and(|most| share(most.rate, slow))
            || self.series().iter().take_while(|seen| seen.told_to_wait).count() >= 2
    }

    fn state(&self) -> State {
        match (self.mode, &self.is) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::ForcedClosed | Mode::Disabled, _) | (_, Is::Closed { .. }) => State::Closed,
            (_, Is::Open { .. }) => State::Open,
            (_, Is::HalfOpen { .. }) => State::HalfOpen,
        }
    }
}

/// Whether the last of those who asked passes: the first five in each second do, and of the others as many as the share
/// allows that rises from a tenth to all.
fn passes_ramp(asked: &[Duration], ramp: Duration) -> bool {
    let mut saved = 0;
    let mut passes = true;
    for (index, elapsed) in asked.iter().enumerate() {
        passes = asked[..index].iter().filter(|other| other.as_secs() == elapsed.as_secs()).count() < 5;
        if !passes {
            saved += 6553 + 58_983 * elapsed.as_nanos() / ramp.as_nanos();
            passes = saved >= 65_536;
            saved -= if passes { 65_536 } else { 0 };
        }
    }
    passes
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::SoftFailure(Weight::WHOLE)),
        1 => Just(Outcome::SoftFailure(Weight::percent(30))),
        1 => Just(Outcome::Ignored),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let end = (any::<usize>(), outcomes(), prop::option::weighted(0.1, 1..100_u64));
    prop_oneof![
        8 => Just(Step::Ask),
        2 => any::<usize>().prop_map(Step::Answer),
        8 => end.prop_map(|(which, outcome, retry_after)| Step::End(which, outcome, retry_after)),
        1 => any::<usize>().prop_map(Step::Drop),
        2 => (1..10_u64).prop_map(Step::Wait),
        1 => (10..200_u64).prop_map(Step::Wait),
    ]
}

fn forcing_steps() -> impl Strategy<Value = Step> {
    const MODES: [Mode; 5] = [Mode::Normal, Mode::ForcedOpen, Mode::ForcedClosed, Mode::Disabled, Mode::Shadow];
    prop_oneof![
        30 => steps(),
        1 => Just(Step::Reset),
        2 => prop::sample::select(&MODES[..]).prop_map(Step::Force),
    ]
}

fn policies() -> impl Strategy<Value = BreakerPolicy> {
    let seconds = Duration::from_secs;
    let window = prop_oneof![
        Just(BreakerPolicy::new().within(seconds(10))),
        Just(BreakerPolicy::new().within(seconds(1))),
        (1..12_u32).prop_map(|calls| BreakerPolicy::new().of_last(calls)),
    ];
    let rates = (prop::option::of(1..=5_u32), prop::option::of(1..=10_u32), prop::option::of(1..=10_u32), 1..8_u32);
    let rest = (1..4_u32, 1..4_u32, 1..3_u32, prop_oneof![Just(0), Just(2), Just(10)]);
    (window, rates, rest).prop_map(move |(policy, (series, failures, slow, minimum), (probes, good, times, ramp))| {
        let mut policy = policy.over(minimum).jitter(0.0).half_open_at_most(times).ramp(seconds(ramp));
        policy = policy.probes(probes.max(good), good).open_for(seconds(2), seconds(9)).heed_retry_after(seconds(20));
        policy.consecutive = series;
        policy.failures = failures.map(|tenths| Rate(tenths * 100_000));
        match slow {
            Some(tenths) => policy.or_slow_calls(f64::from(tenths) / 10.0, Duration::from_millis(500)),
            None => policy,
        }
    })
}

/// What the breaker under test lets somebody hold.
enum Held {
    Called(permit::Call),
    Answered(Permit),
}

impl Held {
    /// A good head comes.
    fn answer(self) -> Self {
        let Self::Called(mut call) = self else { return self };
        let usual = call.answered_well();
        let permit = usual.or_else(|| call.over()?.answered(Outcome::Success.into(), &HeaderMap::new()));
        Self::Answered(permit.expect("a good head leaves it to the body"))
    }

    fn end(self, outcome: Outcome, retry_after: Option<Duration>) {
        let permit = match self {
            Self::Called(mut call) => call.over().expect("its head has not come"),
            Self::Answered(permit) => permit,
        };
        permit.settle(outcome, retry_after);
    }
}

/// Asks the breaker under test.
fn pass(core: &Arc<Core>) -> Result<Held, Asked> {
    let handle = Handle::new(core);
    match handle.ask(false) {
        Asked::Pass(pass) => Ok(Held::Called(pass.call(&handle))),
        other => Err(other),
    }
}

/// Takes both through the same, and compares all that can be seen.
async fn follow(policy: BreakerPolicy, steps: Vec<Step>) -> (Arc<Core>, Vec<Held>) {
    let (core, mut model) = (Arc::new(Core::new(policy, 1, None, Mode::Normal, None)), Model::new(policy));
    let mut under_way: Vec<(Held, Call)> = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        match step {
            Step::Ask => {
                let (expected, call) = model.ask();
                let (answer, held) = match pass(&core) {
                    Ok(held) => (Answer::Pass, Some(held)),
                    Err(Asked::Refuse(after)) => (Answer::Refuse(Duration::from_nanos(after)), None),
                    Err(_) => (Answer::Uncounted, None),
                };
                assert_eq!(answer, expected, "step {index}");
                under_way.extend(iter::zip(held, call));
            }
            Step::Answer(which) if !under_way.is_empty() => {
                let (held, mut call) = under_way.swap_remove(which % under_way.len());
                if call.head.is_none() {
                    model.answer(&mut call);
                }
                under_way.push((held.answer(), call));
            }
            Step::End(which, outcome, retry_after) if !under_way.is_empty() => {
                let (held, call) = under_way.swap_remove(which % under_way.len());
                // Only a head brings one.
                let retry_after = retry_after.filter(|_| call.head.is_none());
                let retry_after = retry_after.map(|tenths| Duration::from_millis(100 * tenths));
                held.end(outcome, retry_after);
                model.end(call, call.head.unwrap_or(model.is_slow(call)), outcome, retry_after);
            }
            Step::Drop(which) if !under_way.is_empty() => {
                let (held, call) = under_way.swap_remove(which % under_way.len());
                drop(held);
                let slow = call.head.unwrap_or(model.is_slow(call));
                let outcome = match call.head {
                    Some(_) => Outcome::Success,
                    None if slow => Outcome::Failure,
                    None => Outcome::Ignored,
                };
                model.end(call, slow, outcome, None);
            }
            Step::Answer(_) | Step::End(..) | Step::Drop(_) => {}
            Step::Wait(tenths) => {
                let time = Duration::from_millis(100 * tenths);
                advance(time).await;
                model.now += time;
            }
            Step::Reset => {
                core.force(Mode::Normal);
                model.force(Mode::Normal);
            }
            Step::Force(mode) => {
                core.force(mode);
                model.force(mode);
            }
        }
        assert_eq!(core.state(), model.state(), "step {index}");
        let snapshot = core.snapshot();
        assert_eq!(snapshot.calls, model.window().len() as u64, "step {index}");
        assert_eq!(snapshot.consecutive as usize, model.series().len(), "step {index}");
        assert_eq!(snapshot.opened, model.opened, "step {index}");
    }
    (core, under_way.into_iter().map(|(held, _)| held).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_does_what_a_list_of_all_calls_would_have_it_do(
        policy in policies(),
        steps in prop::collection::vec(steps(), 1..200),
    ) {
        on_paused_time(follow(policy, steps));
    }

    #[test]
    fn whatever_is_forced_takes_effect_in_any_state(
        policy in policies(),
        steps in prop::collection::vec(forcing_steps(), 1..200),
    ) {
        on_paused_time(follow(policy, steps));
    }

    /// From any state, with calls under way that never end, it closes once the service is well and somebody calls.
    #[test]
    fn it_never_stays_open_in_front_of_a_service_that_is_well(
        policy in policies(),
        steps in prop::collection::vec(steps(), 1..100),
        pause in 1..30_u64,
    ) {
        on_paused_time(async {
            let (core, hung) = follow(policy, steps).await;
            let pause = Duration::from_millis(100 * pause);
            let longest = Duration::from_secs(20 + 2 * 20 + 9 + 2 * 9) + pause * 10;
            let began = Instant::now();
            while core.state() != State::Closed {
                assert!(began.elapsed() <= longest, "still {:?} after {longest:?}", core.state());
                if let Ok(held) = pass(&core) {
                    held.end(Outcome::Success, None);
                }
                advance(pause).await;
            }
            drop(hung);
        });
    }

    #[test]
    fn so_many_calls_one_after_the_other_open_it_wherever_they_failed(
        most in 1..6_usize,
        calls in prop::collection::vec(0..3_u8, 1..60),
    ) {
        const WELL: u8 = 0;
        const IN_BODY: u8 = 1;
        on_paused_time(async {
            let policy = BreakerPolicy::consecutive_failures(u32::try_from(most).unwrap());
            let core = Arc::new(Core::new(policy, 1, None, Mode::Normal, None));
            for (index, how) in calls.iter().enumerate() {
                let Ok(held) = pass(&core) else { panic!("it is closed") };
                match *how {
                    WELL => held.answer().end(Outcome::Success, None),
                    IN_BODY => held.answer().end(Outcome::Failure, None),
                    _ => held.end(Outcome::Failure, None),
                }
                let in_a_row = calls[..=index].iter().rev().take_while(|how| **how != WELL).count();
                prop_assert_eq!(core.state() == State::Open, in_a_row >= most, "call {}", index);
                if core.state() == State::Open {
                    break;
                }
            }
            Ok(())
        })?;
    }

    /// Calls that overlap count in the order in which they are judged. Never too many of them; and all, as long as good
    /// heads are not taken for more than they are.
    #[test]
    fn calls_in_flight_hide_no_body_that_breaks_and_make_nothing_up(
        steps in prop::collection::vec((any::<usize>(), 0..5_u8), 1..200),
    ) {
        on_paused_time(async {
            let core = Arc::new(Core::new(BreakerPolicy::consecutive_failures(1_000), 1, None, Mode::Normal, None));
            let (mut called, mut answered) = (Vec::new(), Vec::new());
            let (mut failed, mut broken, mut good_heads) = (0, 0, 0);
            for (which, step) in steps {
                let Ok(held) = pass(&core) else { panic!("it is closed") };
                called.push(held);
                let held = called.swap_remove(which % called.len());
                match step {
                    0 => {
                        held.end(Outcome::Failure, None);
                        failed += 1;
                    }
                    1 | 2 => {
                        answered.push(held.answer());
                        good_heads += 1;
                    }
                    _ if answered.is_empty() => {}
                    _ => {
                        let well = step == 4 && which % 3 == 0;
                        let outcome = if well { Outcome::Success } else { Outcome::Failure };
                        answered.swap_remove(which % answered.len()).end(outcome, None);
                        let more = |n| if well { 0 } else { n + 1 };
                        (failed, broken) = (more(failed), more(broken));
                        good_heads = if well { 0 } else { good_heads };
                    }
                }
                let series = core.snapshot().consecutive;
                prop_assert!(broken <= series && series <= failed, "{} of {} to {}", series, broken, failed);
                prop_assert!(good_heads > 0 || series == failed, "{} of {}", series, failed);
            }
            Ok(())
        })?;
    }

    #[test]
    fn it_is_open_for_as_long_as_the_policy_says(failures in 1..40_u32, share in 0..100_u32) {
        on_paused_time(async {
            let jitter = f64::from(share) / 100.0;
            let policy = BreakerPolicy::consecutive_failures(1).jitter(jitter).probes(1, 1).half_open_at_most(1_000);
            let core = Arc::new(Core::new(policy, 1, None, Mode::Normal, None));
            for time in 0..failures {
                let Ok(held) = pass(&core) else { panic!("it is closed, or half-open") };
                held.end(Outcome::Failure, None);
                let expected = (5.0 * 2_f64.powi(i32::try_from(time).unwrap())).min(60.0);
                let remaining = core.snapshot().remaining;
                let spread = expected * jitter + 1e-6;
                prop_assert!((remaining.as_secs_f64() - expected).abs() <= spread, "{remaining:?} for {expected}");
                advance(remaining).await;
            }
            Ok(())
        })?;
    }

    #[test]
    fn the_ramp_admits_ever_more_and_never_less(rate in 1..200_u64) {
        on_paused_time(async {
            let core = Arc::new(Core::new(BreakerPolicy::new().probes(1, 1), 1, None, Mode::Normal, None));
            core.restore(&Snapshot { state: State::Open, ..core.snapshot() });
            let mut admitted = Vec::new();
            // The first call is the probe.
            let ask = || pass(&core).map(|held| held.end(Outcome::Success, None)).is_ok();
            prop_assert!(ask());
            for _ in 0..12 {
                let mut in_this_second = 0_u64;
                for _ in 0..rate {
                    in_this_second += u64::from(ask());
                    advance(Duration::from_nanos(1_000_000_000 / rate)).await;
                }
                admitted.push(in_this_second);
            }
            prop_assert!(admitted.windows(2).all(|pair| pair[1] + 2 >= pair[0]), "{admitted:?}");
            prop_assert_eq!(admitted[11], rate);
            prop_assert!(admitted[0] >= rate.min(5), "{:?}", admitted);
            // Of what is not free, a tenth to a fifth passes in the first second.
            prop_assert!(admitted[0] <= 5 + rate / 5 + 1, "{:?}", admitted);
            Ok(())
        })?;
    }
}

fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test)
}
