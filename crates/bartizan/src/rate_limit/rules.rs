//! What a limiter asks of a request: its charges.

use super::{
    event::Event,
    fields::Fields,
    head::Head,
    key::KeyBy,
    plain::{Plain, Way},
    policy::{CostBy, Looking, Plan, Policy, SettleBy},
    queue::Bucket,
    refusal::Refused,
};
use crate::shared::{Deadline, OnRefusal};
use bartizan_store::{Charge, Key, Quota};
use http::request::Parts;
use smallvec::SmallVec;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// All that the user said, shared by every clone of the layer.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) policies: Vec<Policy>,
    pub(super) key: KeyBy,
    pub(super) cost: Option<CostBy>,
    pub(super) missing: MissingKey,
    pub(super) exempt: Option<Arc<dyn Fn(&Parts) -> bool + Send + Sync>>,
    pub(super) fields: Fields,
    pub(super) settle: Option<SettleBy>,
    pub(super) patience: Option<Patience>,
    pub(super) shadow: bool,
    pub(super) refuse_when_unavailable: bool,
    pub(super) on_refusal: Option<OnRefusal<Refused>>,
    pub(super) observe: Option<Arc<dyn Fn(&Event<'_>) + Send + Sync>>,
}

/// What the rules come to, worked out once.
pub(super) struct Shape {
    /// A function wants to see whole heads of requests.
    pub(super) wants_heads: bool,
    pub(super) way: Way,
}

/// What becomes of a request that has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingKey {
    /// It shares a bucket with all others that have none.
    Share,
    /// The policy does not apply to it.
    Skip,
    /// It is refused.
    Refuse,
}

impl MissingKey {
    /// The key of a request that has none.
    #[cold]
    pub(super) fn key_for(self, policy: &Policy) -> Result<Option<Key>, NoKey> {
        match self {
            Self::Share => {
                warn_that_a_bucket_is_shared(policy);
                Ok(Some(Key::GLOBAL))
            }
            Self::Skip => Ok(None),
            Self::Refuse => Err(NoKey),
        }
    }
}

/// Most often a layer stands further out than the one that finds what it counts by, and then all requests are like this.
fn warn_that_a_bucket_is_shared(policy: &Policy) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            policy = policy.name.as_str(),
            "a request has nothing that its limit is counted by, so it shares one bucket with all others that have none: \
             does the layer that finds it (a tenant, say) stand outside the limit? skip_missing_key and \
             refuse_missing_key do otherwise; this is said once"
        );
    }
}

/// How long a request may wait for its turn, behind how many others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) longest: Duration,
    pub(super) queue: usize,
}

impl Patience {
    /// Until when a request that came at `began` waits.
    pub(super) fn until(self, began: Instant, deadline: Option<Deadline>) -> Instant {
        // Too long to count is as good as for ever.
        let own = began.checked_add(self.longest).unwrap_or_else(|| Deadline::after(Duration::MAX).instant());
        deadline.map_or(own, |deadline| deadline.instant().min(own))
    }
}

/// A charge that owns what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) policy: usize,
    pub(super) key: Key,
    pub(super) quota: Quota,
    pub(super) cost: u32,
}

pub(super) type Dues = SmallVec<[Due; 1]>;

/// The request has no key, and must have one.
pub(super) struct NoKey;

impl Due {
    /// The bucket that is charged.
    pub(super) fn bucket(&self) -> Bucket {
        (self.policy, self.key)
    }
}

impl Rules {
    /// What a request with this head is charged, quotas that have to be looked up aside.
    pub(super) fn dues(&self, head: &Head<'_>) -> Result<Dues, NoKey> {
        let mut dues = Dues::new();
        for (index, policy) in self.policies.iter().enumerate() {
            if let Some(key) = self.key(policy, head)? {
                let (quota, cost) = (policy.quota(&key, head), self.cost(index, head));
                dues.push(Due { policy: index, key, quota, cost });
            }
        }
        Ok(dues)
    }

    /// Whose bucket of this policy it takes from; nobody's if the policy does not apply.
    pub(super) fn key(&self, policy: &Policy, head: &Head<'_>) -> Result<Option<Key>, NoKey> {
        self.key_by(policy).read_in(head).map_or_else(|| self.missing.key_for(policy), |key| Ok(Some(key)))
    }

    /// By what this policy counts.
    pub(super) fn key_by<'a>(&'a self, policy: &'a Policy) -> &'a KeyBy {
        policy.key.as_ref().unwrap_or(&self.key)
    }

    /// How much of it. Where it is settled afterwards at least one: what takes nothing passes, whatever is owed.
    #[inline]
    pub(super) fn cost(&self, policy: usize, head: &Head<'_>) -> u32 {
        let cost = self.policies[policy].cost.as_ref().or(self.cost.as_ref()).map_or(1, |cost| cost(head.whole()));
        if cost == 0 && self.settle(policy).is_some() { 1 } else { cost }
    }

    pub(super) fn shape(&self) -> Shape {
        let is_simple = |policy: &Policy| matches!(policy.plan, Plan::Fixed) && policy.cost.is_none();
        let asks_for_keys_alone = self.exempt.is_none() && self.cost.is_none() && self.policies.iter().all(is_simple);
        let mut keys = self.policies.iter().map(|policy| self.key_by(policy));
        let wants_heads = !asks_for_keys_alone || keys.any(KeyBy::wants_heads);
        let way = match &*self.policies {
            [policy] if asks_for_keys_alone && !self.is_patient() => Plain::new(self, policy).way(),
            _ => Way::Long,
        };
        Shape { wants_heads, way }
    }

    /// Whether requests wait for their turn. In shadow mode nothing is done to them, so they do not.
    pub(super) fn is_patient(&self) -> bool {
        self.patience.is_some() && !self.shadow
    }

    /// Whether any policy is settled afterwards.
    pub(super) fn settles(&self) -> bool {
        self.settle.is_some() || self.policies.iter().any(|policy| policy.settle.is_some())
    }

    /// How this policy is settled. What the layer says of costs is not meant for a policy that has its own.
    pub(super) fn settle(&self, policy: usize) -> Option<&SettleBy> {
        let policy = &self.policies[policy];
        policy.settle.as_ref().or(self.settle.as_ref().filter(|_| policy.cost.is_none()))
    }

    /// The look-ups that are needed before these charges are complete.
    pub(super) fn look_ups(&self, dues: &Dues, head: &Head<'_>) -> Vec<(usize, Looking)> {
        let look_up = |(index, due): (usize, &Due)| match &self.policies[due.policy].plan {
            Plan::Looked(plan) => Some((index, plan(&due.key, head.whole()))),
            Plan::Fixed | Plan::Known(_) => None,
        };
        dues.iter().enumerate().filter_map(look_up).collect()
    }

    /// Whether any quota has to be looked up.
    pub(super) fn has_look_ups(&self) -> bool {
        self.policies.iter().any(Policy::is_looked_up)
    }

    pub(super) fn charges<'a>(&'a self, dues: &'a Dues) -> SmallVec<[Charge<'a>; 1]> {
        dues.iter().map(|due| self.charge(due)).collect()
    }

    pub(super) fn charge<'a>(&'a self, due: &'a Due) -> Charge<'a> {
        Charge { policy: &self.policies[due.policy].name, key: &due.key, quota: due.quota, cost: due.cost }
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(observe) = &self.observe {
            observe(event);
        }
    }
}
