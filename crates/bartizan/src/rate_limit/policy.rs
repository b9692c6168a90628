//! A policy: a name, a quota, and whose it is.

use super::{head::Head, key::KeyBy, settle::Outcome};
use bartizan_store::{Key, PolicyName, Quota};
use http::request::Parts;
use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

/// One quota of a limiter, with a name that clients see.
///
/// A [`Quota`] alone is the policy `default`.
#[derive(Clone)]
pub struct Policy {
    pub(super) name: PolicyName,
    pub(super) quota: Quota,
    pub(super) plan: Plan,
    pub(super) key: Option<KeyBy>,
    pub(super) cost: Option<CostBy>,
    pub(super) settle: Option<SettleBy>,
    pub(super) quiet: bool,
}

/// How a policy's quota is found for one key.
#[derive(Clone)]
pub(super) enum Plan {
    /// It is the same for all.
    Fixed,
    /// A function knows.
    Known(Arc<dyn Fn(&Key, &Parts) -> Option<Quota> + Send + Sync>),
    /// It has to be looked up.
    Looked(Arc<dyn Fn(&Key, &Parts) -> Looking + Send + Sync>),
}

/// A quota that is being looked up.
pub(super) type Looking = Pin<Box<dyn Future<Output = Option<Quota>> + Send>>;

pub(super) type CostBy = Arc<dyn Fn(&Parts) -> u32 + Send + Sync>;
pub(super) type SettleBy = Arc<dyn Fn(&Outcome<'_>) -> u32 + Send + Sync>;

impl Policy {
    /// The policy `name`. Policies of the same name in one store share their buckets.
    ///
    /// # Panics
    /// If the name is empty or has characters other than printable ASCII, which a structured field cannot carry.
    pub fn new(name: impl Into<Cow<'static, str>>, quota: Quota) -> Self {
        let name = name.into();
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
            "the policy name {name:?} is not printable ASCII, which is all that the RateLimit field can carry"
        );
        Self {
            name: PolicyName::new(name),
            quota,
            plan: Plan::Fixed,
            key: None,
            cost: None,
            settle: None,
            quiet: false,
        }
    }

    /// Whose bucket a request takes from. By default it is as the [layer](super::RateLimitLayer::key_by) says.
    #[must_use]
    pub fn key_by(mut self, key: impl Into<KeyBy>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How much a request takes. By default it is as the [layer](super::RateLimitLayer::cost_by) says. Nothing (0) always
    /// passes; but a policy that [settles](Self::settle_by) takes at least 1 until then.
    #[must_use]
    pub fn cost_by(mut self, cost: impl Fn(&Parts) -> u32 + Send + Sync + 'static) -> Self {
        self.cost = Some(Arc::new(cost));
        self
    }

    /// What a request really cost this policy. By default it is as the
    /// [layer](super::RateLimitLayer::settle_by) says, unless the policy has a cost of its own.
    #[must_use]
    pub fn settle_by(mut self, settle: impl Fn(&Outcome<'_>) -> u32 + Send + Sync + 'static) -> Self {
        self.settle = Some(Arc::new(settle));
        self
    }

    /// The quota of one key, such as a tenant's plan; `None` is the policy's own.
    ///
    /// A plan may change while a bucket is in use: with GCRA the time until it is full again stays, at the new pace;
    /// where it counts in windows, a window of another length is a new count.
    #[must_use]
    pub fn plan_by(mut self, plan: impl Fn(&Key, &Parts) -> Option<Quota> + Send + Sync + 'static) -> Self {
        self.plan = Plan::Known(Arc::new(plan));
        self
    }

    /// As [`plan_by`](Self::plan_by), for a plan that has to be fetched. Give answers from a cache where you can: every
    /// request waits for this one.
    #[must_use]
    pub fn plan_by_async<F>(mut self, plan: impl Fn(&Key, &Parts) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Quota>> + Send + 'static,
    {
        self.plan = Plan::Looked(Arc::new(move |key, head| Box::pin(plan(key, head))));
        self
    }

    /// Keeps silent about this policy: no field and no problem names it, so that a stranger learns nothing but when to
    /// come back.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The quota of this key, as far as it is known without looking it up.
    #[inline]
    pub(super) fn quota(&self, key: &Key, head: &Head<'_>) -> Quota {
        match &self.plan {
            Plan::Fixed | Plan::Looked(_) => self.quota,
            Plan::Known(plan) => plan(key, head.whole()).unwrap_or(self.quota),
        }
    }

    /// Whether its quota has to be looked up.
    pub(super) fn is_looked_up(&self) -> bool {
        matches!(self.plan, Plan::Looked(_))
    }
}

impl From<Quota> for Policy {
    fn from(quota: Quota) -> Self {
        Self::new("default", quota)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.name.as_str()).field("quota", &self.quota).finish_non_exhaustive()
    }
}
