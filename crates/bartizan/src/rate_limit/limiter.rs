//! The limiter itself: asks the store, judges its answer.

use super::{
    fields::{Told, constant_policy_field, whole_seconds},
    layer::Event,
    policy::Looking,
    queue::{Bucket, Lines},
    refusal::{Prepared, Reason, Refused, Violated},
    rules::{Due, Dues, NoKey, Patience, Rules},
    settle::Settlement,
};
use crate::shared::{Deadline, ResponseBody};
use bartizan_store::{Decision, Standing, Throttle, Unavailable, Verdict};
use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use http_body::Body;
use smallvec::{SmallVec, smallvec};
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
    /// It is admitted, and that is all there is to it.
    Admitted,
}

/// What becomes of a request.
pub(super) enum Judged<T: Throttle> {
    Pass(Charged<T>),
    Refuse(Refused, Option<Told>),
}

/// What an admitted request leaves to do when its response comes: most often nothing.
pub(super) struct Charged<T: Throttle> {
    told: Option<Told>,
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
        if let ([_], None, false) = (&*self.rules.policies, self.rules.patience, self.rules.has_look_ups()) {
            return self.ask_one(head);
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
        let deciding = self.store.decide(&self.rules.charges(&dues));
        match decided(deciding) {
            Ok(decision) => Asked::Answered(Answer::Decided(dues, decision)),
            Err(deciding) => Asked::Pending(Box::pin(Arc::clone(self).answer(dues, Vec::new(), Some(deciding), None))),
        }
    }

    /// The way of most requests: one policy, a store that answers at once, and nothing to do afterwards.
    fn ask_one(self: &Arc<Self>, head: &Parts) -> Asked {
        let due = match self.rules.due(0, head) {
            Ok(Some(due)) => due,
            Ok(None) => return Asked::Answered(Answer::Exempt),
            Err(NoKey) => return Asked::Answered(Answer::NoKey),
        };
        match decided(self.store.decide(&[self.rules.charge(&due)])) {
            Ok(Ok(decision)) if decision.is_admitted() && self.rules.admits_silently() => {
                Asked::Answered(Answer::Admitted)
            }
            Ok(decision) => Asked::Answered(Answer::Decided(smallvec![due], decision)),
            Err(deciding) => {
                let dues = smallvec![due];
                Asked::Pending(Box::pin(Arc::clone(self).answer(dues, Vec::new(), Some(deciding), None)))
            }
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
    pub(super) fn judge(self: &Arc<Self>, answer: Answer) -> Judged<T> {
        let (dues, decision) = match answer {
            Answer::Admitted => return Judged::Pass(Charged::NOTHING),
            Answer::Exempt => {
                self.rules.tell(&Event::Exempt);
                return Judged::Pass(Charged::NOTHING);
            }
            Answer::NoKey => return self.refuse(Reason::NoKey, None, SmallVec::new(), None),
            Answer::Decided(_, Err(error)) => {
                self.rules.tell(&Event::Unavailable(&error));
                return match self.rules.refuse_when_unavailable {
                    true => self.refuse(Reason::Unavailable, Some(1), SmallVec::new(), None),
                    false => Judged::Pass(Charged::NOTHING),
                };
            }
            Answer::Decided(dues, Ok(decision)) => (dues, decision),
        };
        match decision.verdict() {
            Verdict::Admitted => {
                self.rules.tell(&Event::Admitted(&decision));
                let told = self.rules.fields.wanted(&dues, decision.standings()).then(|| self.told(&dues, &decision));
                let settlement = self.rules.settle.is_some().then(|| Settlement::open(self, dues, &decision));
                Judged::Pass(Charged { told: told.flatten(), settlement })
            }
            Verdict::Refused(wait) => {
                let violates = |(_, standing): &(&Due, &Standing)| !standing.admits();
                let violated = dues.iter().zip(decision.standings()).filter(violates).map(|(due, _)| due);
                let told = self.told(&dues, &decision);
                self.refuse(Reason::Limited, Some(retry_after(wait)), self.names(violated), told)
            }
            Verdict::TooCostly => {
                let violated = dues.iter().filter(|due| due.cost > due.quota.burst_size());
                self.refuse(Reason::TooCostly, None, self.names(violated), None)
            }
        }
    }

    fn refuse(&self, reason: Reason, retry_after: Option<u64>, violated: Violated, told: Option<Told>) -> Judged<T> {
        let refused = Refused { reason, retry_after, violated };
        if self.rules.shadow {
            self.rules.tell(&Event::WouldRefuse(&refused));
            return Judged::Pass(Charged::NOTHING);
        }
        self.rules.tell(&Event::Refused(&refused));
        Judged::Refuse(refused, told)
    }

    /// The response to a refused request, of which nothing is left but its head.
    pub(super) fn respond(&self, refused: &Refused, told: Option<Told>, head: Parts) -> Response<Bytes> {
        let mut response = refused.respond(&self.rules, &self.rendered().problems, head);
        if let Some(told) = told {
            told.write(response.headers_mut());
        }
        response
    }

    fn told(&self, dues: &Dues, decision: &Decision) -> Option<Told> {
        let constant = self.rendered().policy_field.as_ref().filter(|_| dues.len() == self.rules.policies.len());
        self.rules.fields.tell(&self.rules.policies, constant, dues, decision.standings())
    }

    /// The names that may be told.
    fn names<'a>(&self, dues: impl Iterator<Item = &'a Due>) -> Violated {
        let policies = dues.map(|due| &self.rules.policies[due.policy]);
        policies.filter(|policy| !policy.quiet).map(|policy| policy.name.clone()).collect()
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

impl<T: Throttle> Charged<T> {
    const NOTHING: Self = Self { told: None, settlement: None };

    /// Adds the fields, and lets the settlement ride along with the body.
    pub(super) fn respond<B: Body>(self, mut response: Response<B>) -> Response<ResponseBody<B, Settlement<T>>> {
        if let Some(told) = self.told {
            told.write(response.headers_mut());
        }
        let Some(settlement) = self.settlement else { return response.map(ResponseBody::inner) };
        let (head, body) = response.into_parts();
        let settlement = settlement.respond(head.clone());
        Response::from_parts(head, ResponseBody::inner(body).watched_by(settlement))
    }
}

/// The decision, if the store has made it already; one in memory has. One that has not is polled again later, with a
/// waker that counts.
fn decided<D: Future + Unpin>(mut deciding: D) -> Result<D::Output, D> {
    match Pin::new(&mut deciding).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => Ok(decision),
        Poll::Pending => Err(deciding),
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
