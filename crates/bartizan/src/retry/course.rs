//! The course of one request over its attempts.

use super::{
    attempt::Attempt,
    decision::{Failed, Standing, decide},
    event::{Event, GaveUp, Reason},
    failure::Failure,
    layer::Rules,
    outcome::{self, Outcome},
    policy::RetryPolicy,
    record::Record,
    replay::{Replay, RequestBody},
    spare,
};
use crate::shared::{Deadline, Refusal, is_grpc};
use http::{Method, Request, Response, response};
use http_body::Body;
use std::{
    mem,
    ops::{Deref, DerefMut},
    time::Duration,
};
use tokio::time::Instant;

/// What has to be known of a request for as long as there may be another attempt.
pub(super) struct Course<S, B, E> {
    pub(super) service: S,
    replay: Replay<B>,
    /// What the last attempt has left: what there is to return if none can be made after it.
    pub(super) last: Option<Box<Result<response::Parts, E>>>,
    record: Lent,
}

/// What a head says of its body: how it is framed (RFC 9112 §6), the representation (RFC 9110 §8), and its digests
/// (RFC 9530).
const OF_BODY: [&str; 14] = [
    "content-length",
    "transfer-encoding",
    "trailer",
    "content-type",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "etag",
    "last-modified",
    "content-digest",
    "repr-digest",
    "digest",
    "content-md5",
];

/// A record that goes back to the spare ones.
struct Lent(Option<Box<Record>>);

// ===== impl Course =====

impl<S, B: Body, E> Course<S, B, E> {
    /// The course that begins with `request`, as yet without its body. `service` is for the attempts after the first.
    #[inline]
    pub(super) fn begin<C>(
        request: &mut Request<B>,
        given: Option<Box<RetryPolicy>>,
        may_repeat: bool,
        rules: &Rules<C>,
        service: S,
    ) -> Self {
        let mut record = spare::take();
        record.head.copy(request, &rules.carry);
        let (prior, deadline) = record.head.prior();
        record.began = deadline.map(|_| Instant::now());
        record.deadline = deadline;
        record.is_grpc = request.method() == Method::POST && is_grpc(request.headers());
        (record.given, record.may_repeat) = (given, may_repeat);
        if let Some(prior) = prior {
            record.prior = prior;
            if prior.is_retry() {
                prior.tell(request.headers_mut(), &rules.field);
            }
        }
        Self { service, replay: Replay::empty(), last: None, record: Lent(Some(record)) }
    }

    /// The first attempt's body.
    #[inline]
    pub(super) fn keep<C>(&mut self, body: B, rules: &Rules<C>) -> RequestBody<B> {
        let most = self.policy(rules).replay;
        self.replay.keep(body, most, &rules.memory)
    }

    pub(super) fn policy<'a, C>(&'a self, rules: &'a Rules<C>) -> &'a RetryPolicy {
        self.record.given.as_deref().unwrap_or(&rules.policy)
    }

    /// Whether nothing follows from this answer to the first attempt but that it is the caller's, as is so of most.
    #[inline]
    pub(super) fn is_over_at_once<C, R>(&self, rules: &Rules<C>, answer: &Response<R>) -> bool {
        let record = &*self.record;
        record.attempt == 1
            && !record.is_grpc
            && record.began.is_none()
            && outcome::is_plain(self.policy(rules), answer)
    }

    /// Whether it makes sense to look closer at an answer.
    pub(super) fn may_go_on<C>(&self, rules: &Rules<C>) -> bool {
        self.record.may_repeat && self.record.attempt < self.attempts(rules) && self.replay.can_repeat(true)
    }

    /// What follows from the outcome of an attempt: another one after a pause, or none.
    pub(super) fn go_on<C>(&mut self, rules: &Rules<C>, outcome: &Outcome, is_answer: bool) -> Option<Duration> {
        let spent = self.record.spent.take();
        match outcome {
            Outcome::Answered | Outcome::Unsaid => {
                self.answered(rules);
                None
            }
            Outcome::Refused(refusal, reason) => {
                if self.goes_elsewhere(rules, *refusal) {
                    // Nothing was sent: what was spent on it is there for the next one, which need not wait.
                    self.record.withdrawal = spent;
                    self.record.unsent += 1;
                    return Some(self.retried(rules, *reason, Duration::ZERO));
                }
                if let Some(spent) = spent {
                    spent.refund();
                }
                if self.record.attempt > 1 {
                    self.gave_up(rules, *reason, GaveUp::Refused);
                }
                None
            }
            Outcome::Failed(failed) => {
                drop(spent);
                // An error is no answer, and says nothing of how long one takes.
                if is_answer && let Some(took) = self.took() {
                    rules.pace.learn_of_failure(took);
                }
                match self.decide(rules, failed, is_answer).and_then(|pause| self.take_over(is_answer, pause)) {
                    Ok(pause) => Some(self.retried(rules, failed.reason, pause)),
                    Err(why) => {
                        self.gave_up(rules, failed.reason, why);
                        None
                    }
                }
            }
        }
    }

    fn retried<C>(&mut self, rules: &Rules<C>, reason: Reason, pause: Duration) -> Duration {
        rules.tell(&Event::Retried { attempt: self.record.attempt, reason, pause });
        (self.record.pause, self.record.reason) = (pause, reason);
        pause
    }

    /// Whether the next attempt goes to another place than the one that has refused this one.
    fn goes_elsewhere<C>(&mut self, rules: &Rules<C>, refusal: Refusal) -> bool {
        self.record.attempt < self.attempts(rules)
            && rules.goes_elsewhere(refusal, &self.record.head)
            && self.left(rules).is_none_or(|left| !left.is_zero())
            && self.replay.take_over(false)
    }

    /// The time until its end, asked anew. Not after the last attempt, which has taken the head.
    fn left<C>(&mut self, rules: &Rules<C>) -> Option<Duration> {
        self.record.deadline = rules.end_of(&self.record.head);
        self.record.deadline.map(Deadline::remaining)
    }

    fn answered<C>(&self, rules: &Rules<C>) {
        if let Some(took) = self.took() {
            rules.pace.learn(took);
        }
        if self.record.attempt > 1 {
            rules.tell(&Event::Recovered { attempts: self.record.attempt });
        }
    }

    /// How long this attempt has taken, if somebody has to know. The time in which its body came was not the service's.
    fn took(&self) -> Option<Duration> {
        let began = self.record.began?;
        Some(self.replay.came().map_or(began, |came| came.max(began)).elapsed())
    }

    /// This attempt was cut short: nobody knows how long an answer would have taken.
    pub(super) fn stop_the_clock(&mut self) {
        self.record.began = None;
    }

    fn decide<C>(&mut self, rules: &Rules<C>, failed: &Failed, is_answer: bool) -> Result<Duration, GaveUp> {
        let attempts = self.attempts(rules);
        let left = if self.record.attempt < attempts { self.left(rules) } else { None };
        let standing = Standing {
            attempt: self.record.attempt,
            attempts,
            repeatable: self.record.may_repeat,
            replayable: self.replay.can_repeat(is_answer),
            left,
            expected: self.record.deadline.map_or(Duration::ZERO, |_| rules.pace.expected()),
            last_pause: self.record.pause,
            dice: rand::random(),
        };
        let pause = decide(self.policy(rules), failed, &standing)?;
        if failed.failure == Failure::Unprocessed && !self.record.had_free {
            self.record.had_free = true;
            return Ok(pause);
        }
        self.record.withdrawal = Some(rules.budget.withdraw().ok_or(GaveUp::Budget)?);
        Ok(pause)
    }

    /// The attempt that has failed reads no more: going on, it would outrun the next one while that waits for its time.
    fn take_over(&mut self, is_answer: bool, pause: Duration) -> Result<Duration, GaveUp> {
        if self.replay.take_over(is_answer) {
            return Ok(pause);
        }
        self.record.refund();
        Err(GaveUp::NotReplayable)
    }

    fn attempts<C>(&self, rules: &Rules<C>) -> u32 {
        let policy = self.policy(rules);
        if self.record.prior.is_retry() { policy.attempts_of_a_retry() } else { policy.attempts }
    }

    fn gave_up<C>(&self, rules: &Rules<C>, reason: Reason, why: GaveUp) {
        rules.tell(&Event::GaveUp { attempts: self.record.attempt, reason, why });
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.record.is_grpc
    }

    /// Whether the budget has to be told of the request: once, when the destination has been asked.
    pub(super) fn is_to_be_counted(&mut self, outcome: &Outcome) -> bool {
        !matches!(outcome, Outcome::Refused(..)) && !mem::replace(&mut self.record.is_counted, true)
    }

    /// When the request's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.record.deadline.map(Deadline::instant)
    }

    /// Whether there is so much time before the pause is over, or the next attempt has to begin.
    pub(super) fn can_spare<C>(&self, rules: &Rules<C>, time: Duration, pause: Duration) -> bool {
        let left = self.record.deadline.map(Deadline::remaining);
        left.is_none_or(|left| left > time.max(pause).saturating_add(rules.pace.expected()))
    }

    /// The next attempt.
    pub(super) fn next<C>(&mut self, rules: &Rules<C>) -> Request<RequestBody<B>> {
        self.record.attempt += 1;
        self.record.spent = self.record.withdrawal.take();
        self.last = None;
        self.record.began = self.record.deadline.map(|_| Instant::now());
        let is_last = self.record.attempt >= self.attempts(rules);
        let body = self.replay.read();
        let head = &mut self.record.head;
        let mut request = if is_last { head.take(body) } else { head.clone().take(body) };
        let attempt = Attempt::new(self.record.attempt - self.record.unsent).max(self.record.prior);
        if attempt.is_retry() {
            attempt.tell(request.headers_mut(), &rules.field);
            request.extensions_mut().insert(attempt);
        }
        request
    }

    /// No attempt can be made any more: the head of the last answer, or the last error. Where the answer's body
    /// `is_gone`, what says something of it goes too. Nothing was sent for what was withdrawn.
    pub(super) fn settle_for_last<C>(
        &mut self,
        rules: &Rules<C>,
        why: GaveUp,
        is_gone: bool,
    ) -> Result<response::Parts, E> {
        self.record.refund();
        self.gave_up(rules, self.record.reason, why);
        let mut last = *self.last.take().expect("an attempt has failed before this one");
        if let Ok(head) = &mut last
            && is_gone
        {
            for field in OF_BODY {
                head.headers.remove(field);
            }
        }
        last
    }
}

// ===== impl Lent =====

impl Deref for Lent {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        self.0.as_ref().expect("it is lent until the end")
    }
}

impl DerefMut for Lent {
    #[inline]
    fn deref_mut(&mut self) -> &mut Record {
        self.0.as_mut().expect("it is lent until the end")
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            spare::give_back(record);
        }
    }
}
