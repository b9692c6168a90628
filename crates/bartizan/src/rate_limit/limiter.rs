//! The limiter itself: asks the store, judges its answer.

use super::{
    body::LimitedBody,
    event::Event,
    fields::{Members, Told},
    head::Head,
    plain::Way,
    policy::Looking,
    queue::Lines,
    refusal::{Prepared, Reason, Refused, Violated, retry_after},
    rules::{Due, Dues, NoKey, Rules, Shape},
    settle::Settlement,
};
use crate::shared::{Deadline, End, Said, Watch};
use bartizan_store::{Decision, Standing, Throttle, Unavailable, Verdict};
use http::{Request, Response};
use http_body::Body;
use smallvec::SmallVec;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};
use tokio::time::{Instant, timeout_at};

/// Everything that the clones of a layer share.
pub(super) struct Limiter<T> {
    pub(super) rules: Rules,
    pub(super) store: T,
    pub(super) lines: Lines,
    pub(super) shape: Shape,
    rendered: OnceLock<Rendered>,
}

/// What never changes once the rules stand.
pub(super) struct Rendered {
    pub(super) refusals: Prepared,
    pub(super) members: Members,
}

/// What comes of asking the store.
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one, and must not allocate")]
pub(super) enum Asked<T: Throttle> {
    /// It has answered: a store in memory does so at once.
    Judged(Judged<T>),
    /// It takes a while.
    Pending(Pending<T>),
}

/// What takes a while, boxed: what is waited for costs more than the box.
pub(super) type Pending<T> = Pin<Box<dyn Future<Output = Judged<T>> + Send>>;

/// What becomes of a request.
#[allow(clippy::large_enum_variant, reason = "refusals are large, but must not allocate")]
pub(super) enum Judged<T: Throttle> {
    /// The usual: there is nothing left to do.
    Pass,
    Charge(Charged<T>),
    /// The only policy refuses it, of which nobody hears but the client.
    Limit(Standing),
    Refuse(Refused, Option<Told>),
}

/// What an admitted request leaves to do when its response comes.
pub(super) struct Charged<T: Throttle> {
    told: Option<Told>,
    settlement: Option<Settlement<T>>,
}

// ===== impl Limiter =====

impl<T> Limiter<T> {
    pub(super) fn new(rules: Rules, store: T) -> Self {
        let shape = rules.shape();
        Self { rules, store, lines: Lines::default(), shape, rendered: OnceLock::new() }
    }

    /// Changes the rules, and what was rendered of them.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules);
        self.shape = self.rules.shape();
        self.rendered = OnceLock::new();
    }

    pub(super) fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| Rendered {
            refusals: Prepared::new(&self.rules),
            members: Members::new(&self.rules.policies),
        })
    }
}

impl<T: Throttle + Clone> Limiter<T> {
    /// Asks the store about a request with this head.
    #[inline]
    pub(super) fn ask(self: &Arc<Self>, head: &Head<'_>) -> Asked<T> {
        match &self.shape.way {
            Way::Peer(plain) | Way::Field(_, plain) | Way::Plain(plain) => self.ask_plainly(plain, head),
            Way::Long => self.ask_all(head),
        }
    }

    fn ask_all(self: &Arc<Self>, head: &Head<'_>) -> Asked<T> {
        if self.rules.exempt.as_ref().is_some_and(|exempt| exempt(head.whole())) {
            return Asked::Judged(self.exempt());
        }
        let dues = match self.rules.dues(head) {
            Ok(dues) if dues.is_empty() => return Asked::Judged(self.exempt()),
            Ok(dues) => dues,
            Err(NoKey) => return Asked::Judged(self.refuse(Reason::NoKey, None, SmallVec::new(), None)),
        };
        if self.rules.is_patient() || self.rules.has_look_ups() {
            let look_ups = self.rules.look_ups(&dues, head);
            let deadline = Deadline::of(head.extensions);
            return Asked::Pending(Box::pin(Arc::clone(self).take_time(dues, look_ups, deadline)));
        }
        let deciding = self.store.decide(&self.rules.charges(&dues));
        match decided(deciding) {
            Ok(decision) => Asked::Judged(self.judge(&dues, decision)),
            Err(deciding) => Asked::Pending(Box::pin(Arc::clone(self).wait_for(dues, deciding))),
        }
    }

    /// What becomes of a request about which the store takes its time.
    pub(super) async fn wait_for(self: Arc<Self>, dues: Dues, deciding: T::Deciding) -> Judged<T> {
        let decision = deciding.await;
        self.judge(&dues, decision)
    }

    /// What becomes of a request that may take a while: quotas are looked up, and where there is patience, it waits for
    /// its turn; nothing of it longer than until its deadline.
    async fn take_time(
        self: Arc<Self>,
        mut dues: Dues,
        look_ups: Vec<(usize, Looking)>,
        deadline: Option<Deadline>,
    ) -> Judged<T> {
        let began = Instant::now();
        for (index, look_up) in look_ups {
            let quota = match deadline {
                Some(deadline) => timeout_at(deadline.instant(), look_up).await.ok().flatten(),
                None => look_up.await,
            };
            if let Some(quota) = quota {
                dues[index].quota = quota;
            }
        }
        let decision = match self.rules.patience.filter(|_| self.rules.is_patient()) {
            None => self.decide(&dues).await,
            Some(patience) => self.decide_in_turn(&dues, patience, patience.until(began, deadline)).await,
        };
        self.judge(&dues, decision)
    }

    pub(super) async fn decide(&self, dues: &Dues) -> Result<Decision, Unavailable> {
        let deciding = self.store.decide(&self.rules.charges(dues));
        deciding.await
    }

    pub(super) fn exempt(&self) -> Judged<T> {
        self.rules.tell(&Event::Exempt);
        Judged::Pass
    }

    /// What becomes of a request that the store has decided about, or failed to.
    pub(super) fn judge(self: &Arc<Self>, dues: &[Due], decision: Result<Decision, Unavailable>) -> Judged<T> {
        let decision = match decision {
            Ok(decision) => decision,
            Err(error) => {
                self.rules.tell(&Event::Unavailable(&error));
                return match self.rules.refuse_when_unavailable {
                    true => self.refuse(Reason::Unavailable, Some(1), SmallVec::new(), None),
                    false => Judged::Pass,
                };
            }
        };
        match decision.verdict() {
            Verdict::Admitted => {
                self.rules.tell(&Event::Admitted(&decision));
                let told =
                    self.rules.fields.wanted(dues, decision.standings()).then(|| self.told(dues, &decision, None));
                let settlement = self.rules.settles().then(|| Settlement::open(self, dues, &decision));
                match (told.flatten(), settlement) {
                    (None, None) => Judged::Pass,
                    (told, settlement) => Judged::Charge(Charged { told, settlement }),
                }
            }
            Verdict::Refused(wait) => {
                let violates = |(_, standing): &(&Due, &Standing)| !standing.admits();
                let violated = dues.iter().zip(decision.standings()).filter(violates).map(|(due, _)| due);
                let retry_after = Some(retry_after(wait));
                let told = self.told(dues, &decision, retry_after);
                self.refuse(Reason::Limited, retry_after, self.names(violated), told)
            }
            Verdict::TooCostly => {
                let violated = dues.iter().filter(|due| due.cost > due.quota.burst_size());
                self.refuse(Reason::TooCostly, None, self.names(violated), None)
            }
        }
    }

    pub(super) fn refuse(
        &self,
        reason: Reason,
        retry_after: Option<u64>,
        violated: Violated,
        told: Option<Told>,
    ) -> Judged<T> {
        let refused = Refused { reason, retry_after, violated };
        if self.rules.shadow {
            self.rules.tell(&Event::WouldRefuse(&refused));
            return Judged::Pass;
        }
        self.rules.tell(&Event::Refused(&refused));
        Judged::Refuse(refused, told)
    }

    /// The response to a refused request, from which its fields and extensions are taken.
    pub(super) fn respond<B>(&self, refused: &Refused, told: Option<Told>, request: &mut Request<B>) -> Response<Said> {
        let mut response = refused.respond(&self.rules, &self.rendered().refusals, request);
        if let Some(told) = told {
            told.write(response.headers_mut());
        }
        response
    }

    fn told(&self, dues: &[Due], decision: &Decision, retry_after: Option<u64>) -> Option<Told> {
        let members = &self.rendered().members;
        self.rules.fields.tell(&self.rules.policies, members, dues, decision.standings(), retry_after)
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
    /// This is the request that is charged.
    pub(super) fn request<B>(&mut self, request: &Request<B>) {
        if let Some(settlement) = &mut self.settlement {
            settlement.request(request.method());
        }
    }

    /// The service has failed.
    pub(super) fn fail(self) {
        if let Some(settlement) = self.settlement {
            settlement.end(End::Failed);
        }
    }

    /// Adds the fields, and lets the settlement ride along with the body.
    pub(super) fn respond<B: Body>(self, mut response: Response<B>) -> Response<LimitedBody<B, T>> {
        if let Some(told) = self.told {
            told.join(&mut response);
        }
        let Some(settlement) = self.settlement else { return response.map(LimitedBody::inner) };
        let (response, settlement) = settlement.respond(response);
        response.map(|body| LimitedBody::settled(body, settlement))
    }
}

/// The decision, if the store has made it already; one in memory has. One that has not is polled again later, with a
/// waker that counts.
pub(super) fn decided<D: Future + Unpin>(mut deciding: D) -> Result<D::Output, D> {
    match Pin::new(&mut deciding).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => Ok(decision),
        Poll::Pending => Err(deciding),
    }
}
