//! What a limiter asks of a request: its charges.

use super::{
    fields::Fields,
    layer::Event,
    policy::{CostBy, KeyBy, Looking, Plan, Policy},
    queue::Bucket,
    refusal::Refused,
    settle::Outcome,
};
use crate::shared::OnRefusal;
use bartizan_store::{Charge, Key, Quota};
use http::request::Parts;
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

/// All that the user said, shared by every clone of the layer.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) policies: SmallVec<[Policy; 1]>,
    pub(super) key: KeyBy,
    pub(super) cost: Option<CostBy>,
    pub(super) missing: MissingKey,
    pub(super) exempt: Option<Arc<dyn Fn(&Parts) -> bool + Send + Sync>>,
    pub(super) fields: Fields,
    pub(super) settle: Option<Arc<dyn Fn(&Outcome<'_>) -> u32 + Send + Sync>>,
    pub(super) patience: Option<Patience>,
    pub(super) shadow: bool,
    pub(super) refuse_when_unavailable: bool,
    pub(super) on_refusal: Option<OnRefusal<Refused>>,
    pub(super) observe: Option<Arc<dyn Fn(&Event<'_>) + Send + Sync>>,
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

/// How long a request may wait for its turn, behind how many others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) longest: Duration,
    pub(super) queue: usize,
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
    pub(super) fn dues(&self, head: &Parts) -> Result<Dues, NoKey> {
        let mut dues = Dues::new();
        for index in 0..self.policies.len() {
            dues.extend(self.due(index, head)?);
        }
        Ok(dues)
    }

    /// What one policy charges; nothing if it does not apply.
    pub(super) fn due(&self, policy: usize, head: &Parts) -> Result<Option<Due>, NoKey> {
        let Policy { quota, plan, key, cost, .. } = &self.policies[policy];
        let key = key.as_ref().unwrap_or(&self.key)(head);
        let key = match (key, self.missing) {
            (Some(key), _) => key,
            (None, MissingKey::Share) => Key::GLOBAL,
            (None, MissingKey::Skip) => return Ok(None),
            (None, MissingKey::Refuse) => return Err(NoKey),
        };
        let quota = match plan {
            Plan::Fixed | Plan::Looked(_) => *quota,
            Plan::Known(plan) => plan(&key, head).unwrap_or(*quota),
        };
        let cost = cost.as_ref().or(self.cost.as_ref()).map_or(1, |cost| cost(head));
        Ok(Some(Due { policy, key, quota, cost }))
    }

    /// Whether an admitted request leaves nothing to do: no field, no settling, nobody to tell.
    pub(super) fn admits_silently(&self) -> bool {
        self.settle.is_none() && self.observe.is_none() && !self.fields.go_with_admitted()
    }

    /// The look-ups that are needed before these charges are complete.
    pub(super) fn look_ups(&self, dues: &Dues, head: &Parts) -> Vec<(usize, Looking)> {
        let look_up = |(index, due): (usize, &Due)| match &self.policies[due.policy].plan {
            Plan::Looked(plan) => Some((index, plan(&due.key, head))),
            Plan::Fixed | Plan::Known(_) => None,
        };
        dues.iter().enumerate().filter_map(look_up).collect()
    }

    /// Whether any quota has to be looked up.
    pub(super) fn has_look_ups(&self) -> bool {
        self.policies.iter().any(|policy| matches!(policy.plan, Plan::Looked(_)))
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
