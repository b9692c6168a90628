//! The limiter itself: asks the store, judges its answer.

use super::{
    fields::{constant_policy_field, whole_seconds},
    layer::Event,
    policy::Looking,
    queue::{Bucket, Lines},
    refusal::{Prepared, Reason, Refused},
    rules::{Due, Dues, NoKey, Patience, Rules},
    settle::Settlement,
};
use crate::shared::{Deadline, ResponseBody};
use bartizan_store::{Decision, Standing, Throttle, Unavailable, Verdict};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request::Parts};
use http_body::Body;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout_at};

/// Everything that the clones of a layer share.
pub(super) struct Limiter<T> {
    pub(super) rules: Rules,
    pub(super) store: T,
    lines: Lines,
    rendered: OnceLock<Rendered>,
}

/// What never changes once the rules stand.
struct Rendered {
    problems: Prepared,
    policy_field: Option<HeaderValue>,
}

/// What comes of asking the store.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one, and must not allocate")]
pub(super) enum Asked {
    /// It has answered: a store in memory does so at once.
    Answered(Answer),
    /// It takes a while.
    Pending(Pending),
}

/// An answer that takes a while, boxed: what is waited for costs more than the box.
pub(super) type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What is to be judged.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one, and must not allocate")]
pub(super) enum Answer {
    /// The store has decided, or failed to.
    Decided(Dues, Result<Decision, Unavailable>),
    /// A key is missing that must be there.
    NoKey,
    /// Nothing is charged.
    Exempt,
}

/// What becomes of a request.
pub(super) enum Judged<T: Throttle> {
    Pass(Option<Charged<T>>),
    Refuse(Response<Bytes>),
}

/// What an admitted request leaves to do when its response comes.
pub(super) struct Charged<T: Throttle> {
    fields: Option<(Arc<Limiter<T>>, Dues, Decision)>,
    settlement: Option<Settlement<T>>,
}

// ===== impl Limiter =====

impl<T> Limiter<T> {
    pub(super) fn new(rules: Rules, store: T) -> Self {
        Self { rules, store, lines: Lines::default(), rendered: OnceLock::new() }
    }

    fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| Rendered {
            problems: Prepared::new(&self.rules),
            policy_field: constant_policy_field(&self.rules.policies),
        })
    }
}

impl<T: Throttle + Clone> Limiter<T> {
    /// Asks the store about a request with this head.
    pub(super) fn ask(self: &Arc<Self>, head: &Parts) -> Asked {
        if self.rules.exempt.as_ref().is_some_and(|exempt| exempt(head)) {
            return Asked::Answered(Answer::Exempt);
        }
        let dues = match self.rules.dues(head) {
            Ok(dues) if dues.is_empty() => return Asked::Answered(Answer::Exempt),
            Ok(dues) => dues,
            Err(NoKey) => return Asked::Answered(Answer::NoKey),
        };
        let until = self.rules.patience.map(|patience| {
            let own = Instant::now() + patience.longest;
            Deadline::of(&head.extensions).map_or(own, |deadline| deadline.instant().min(own))
        });
        if until.is_some() || self.rules.has_look_ups() {
            let look_ups = self.rules.look_ups(&dues, head);
            return Asked::Pending(Box::pin(Arc::clone(self).answer(dues, look_ups, None, until)));
        }
        let mut deciding = self.store.decide(&self.rules.charges(&dues));
        // A store in memory has decided already. One that has not is polled again with the waker that counts.
        match Pin::new(&mut deciding).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decision) => Asked::Answered(Answer::Decided(dues, decision)),
            Poll::Pending => Asked::Pending(Box::pin(Arc::clone(self).answer(dues, Vec::new(), Some(deciding), None))),
        }
    }

    /// The answer to a request that may take a while: quotas are looked up, the store decides, and where there is
    /// patience, the request waits for its turn.
    async fn answer(
        self: Arc<Self>,
        mut dues: Dues,
        look_ups: Vec<(usize, Looking)>,
        deciding: Option<T::Deciding>,
        until: Option<Instant>,
    ) -> Answer {
        for (index, look_up) in look_ups {
            if let Some(quota) = look_up.await {
                dues[index].quota = quota;
            }
        }
        let decision = match (deciding, self.rules.patience.zip(until)) {
            (Some(deciding), _) => deciding.await,
            (None, None) => self.decide(&dues).await,
            (None, Some((patience, until))) => self.decide_in_turn(&dues, patience, until).await,
        };
        Answer::Decided(dues, decision)
    }

    /// Decides at once if nobody waits for one of these buckets and all grant it; otherwise in turn.
    async fn decide_in_turn(&self, dues: &Dues, patience: Patience, until: Instant) -> Result<Decision, Unavailable> {
        let (line, refused) = match self.lines.occupied(dues.iter().map(Due::bucket)) {
            Some(line) => (line, None),
            None => {
                let decision = self.decide(dues).await?;
                let (Verdict::Refused(wait), Some(line)) = (decision.verdict(), refused_by(dues, &decision)) else {
                    return Ok(decision);
                };
                if Instant::now() + wait > until {
                    return Ok(decision);
                }
                (line, Some(decision))
            }
        };
        let Some(ticket) = self.lines.join(line, patience.queue) else {
            return match refused {
                Some(decision) => Ok(decision),
                None => self.refuse_in_line(dues).await,
            };
        };
        let joined = Instant::now();
        let decision = match timeout_at(until, ticket.turn()).await {
            Ok(_turn) => loop {
                let decision = self.decide(dues).await?;
                match decision.verdict() {
                    Verdict::Refused(wait) if Instant::now() + wait <= until => sleep(wait).await,
                    _ => break decision,
                }
            },
            Err(_) => self.refuse_in_line(dues).await?,
        };
        self.rules.tell(&Event::Waited(joined.elapsed()));
        Ok(decision)
    }

    async fn decide(&self, dues: &Dues) -> Result<Decision, Unavailable> {
        let deciding = self.store.decide(&self.rules.charges(dues));
        deciding.await
    }

    /// The refusal of a request that cannot even stand in line, or stood there for too long.
    async fn refuse_in_line(&self, dues: &Dues) -> Result<Decision, Unavailable> {
        let peeking = self.store.peek(&self.rules.charges(dues));
        let peeked = peeking.await?;
        let wait = match peeked.verdict() {
            Verdict::Refused(wait) => wait,
            _ => dues.iter().map(|due| due.quota.interval()).max().unwrap_or_default(),
        };
        Ok(Decision::new(Verdict::Refused(wait), peeked.standings().iter().copied()))
    }

    /// What becomes of the request.
    pub(super) fn judge(self: &Arc<Self>, answer: Answer, head: &Parts) -> Judged<T> {
        match answer {
            Answer::Exempt => {
                self.rules.tell(&Event::Exempt);
                Judged::Pass(None)
            }
            Answer::NoKey => self.refuse(Reason::NoKey, None, head),
            Answer::Decided(_, Err(error)) => {
                self.rules.tell(&Event::Unavailable(&error));
                if self.rules.refuse_when_unavailable {
                    self.refuse(Reason::Unavailable, None, head)
                } else {
                    Judged::Pass(None)
                }
            }
            Answer::Decided(dues, Ok(decision)) => match decision.verdict() {
                Verdict::Admitted => {
                    self.rules.tell(&Event::Admitted(&decision));
                    Judged::Pass(self.charged(dues, decision))
                }
                Verdict::Refused(_) => self.refuse(Reason::Limited, Some((&dues, &decision)), head),
                Verdict::TooCostly => self.refuse(Reason::TooCostly, Some((&dues, &decision)), head),
            },
        }
    }

    fn charged(self: &Arc<Self>, dues: Dues, decision: Decision) -> Option<Charged<T>> {
        let wanted = self.rules.fields.wanted(&dues, decision.standings());
        if !wanted && self.rules.settle.is_none() {
            return None;
        }
        let stamps = decision.standings().iter().map(Standing::stamp);
        let settlement = self.rules.settle.is_some().then(|| Settlement::open(self, dues.clone(), stamps.collect()));
        let fields = wanted.then(|| (Arc::clone(self), dues, decision));
        Some(Charged { fields, settlement })
    }

    fn refuse(&self, reason: Reason, decided: Option<(&Dues, &Decision)>, head: &Parts) -> Judged<T> {
        let violated = decided.into_iter().flat_map(|(dues, decision)| {
            let violates = |(due, standing): &(&Due, &Standing)| match reason {
                Reason::TooCostly => due.cost > due.quota.burst_size(),
                _ => !standing.admits(),
            };
            dues.iter().zip(decision.standings()).filter(violates).map(|(due, _)| &self.rules.policies[due.policy])
        });
        let refused = Refused {
            reason,
            retry_after: match (reason, decided.map(|(_, decision)| decision.verdict())) {
                (Reason::Limited, Some(Verdict::Refused(wait))) => Some(retry_after(wait)),
                (Reason::Unavailable, _) => Some(1),
                _ => None,
            },
            violated: violated.filter(|policy| !policy.quiet).map(|policy| policy.name.clone()).collect(),
        };
        if self.rules.shadow {
            self.rules.tell(&Event::WouldRefuse(&refused));
            return Judged::Pass(None);
        }
        self.rules.tell(&Event::Refused(&refused));
        let mut response = refused.respond(&self.rules, &self.rendered().problems, head);
        if let (Reason::Limited, Some((dues, decision))) = (reason, decided) {
            self.write_fields(dues, decision, response.headers_mut());
        }
        Judged::Refuse(response)
    }

    fn write_fields(&self, dues: &Dues, decision: &Decision, headers: &mut HeaderMap) {
        let constant = self.rendered().policy_field.as_ref().filter(|_| dues.len() == self.rules.policies.len());
        self.rules.fields.write(&self.rules.policies, constant, dues, decision.standings(), headers);
    }
}

impl<T: Throttle + Clone> Clone for Limiter<T> {
    /// The same rules and the same store; who waits, waits with the original.
    fn clone(&self) -> Self {
        Self::new(self.rules.clone(), self.store.clone())
    }
}

impl<T> fmt::Debug for Limiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("policies", &self.rules.policies).finish_non_exhaustive()
    }
}

// ===== impl Charged =====

impl<T: Throttle + Clone> Charged<T> {
    /// Adds the fields, and lets the settlement ride along with the body.
    pub(super) fn respond<B: Body>(self, response: Response<B>) -> Response<ResponseBody<B, Settlement<T>>> {
        let (mut head, body) = response.into_parts();
        if let Some((limiter, dues, decision)) = self.fields {
            limiter.write_fields(&dues, &decision, &mut head.headers);
        }
        let body = ResponseBody::inner(body);
        let body = match self.settlement {
            Some(settlement) => body.watched_by(settlement.respond(head.clone())),
            None => body,
        };
        Response::from_parts(head, body)
    }
}

/// The bucket that refuses a request for longest: the one to wait for.
fn refused_by(dues: &Dues, decision: &Decision) -> Option<Bucket> {
    let longest = dues.iter().zip(decision.standings()).max_by_key(|(_, standing)| standing.wait())?;
    Some(longest.0.bucket())
}

/// `Retry-After`: whole seconds, rounded up, at least one, and up to a tenth more, so that those who were refused
/// together do not come back together. The nanoseconds of the wait are as good as dice.
fn retry_after(wait: Duration) -> u64 {
    let dice = u64::from(wait.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    let jitter = wait.mul_f64(f64::from(u32::try_from(dice).unwrap_or(0)) / 10_240.0);
    whole_seconds(wait + jitter).max(1)
}
