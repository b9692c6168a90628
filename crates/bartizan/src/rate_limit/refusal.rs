//! What a refused client gets.

use super::{policy::Policy, rules::Rules};
use crate::shared::{GrpcStatus, PreparedRefusal, Problem, Refusal, Said, with_head};
use bartizan_store::PolicyName;
use http::{Request, Response, StatusCode};
use smallvec::SmallVec;
use std::{borrow::Cow, slice, time::Duration};

/// Why a request was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    pub(super) reason: Reason,
    pub(super) retry_after: Option<u64>,
    pub(super) violated: Violated,
}

pub(super) type Violated = SmallVec<[PolicyName; 1]>;

/// Why a request was refused, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A quota is used up: 429.
    Limited,
    /// The request costs more than a quota ever grants at once: 403, since waiting does not help.
    TooCostly,
    /// The request has no key, and must have one: 400.
    NoKey,
    /// The store is unavailable: 503.
    Unavailable,
}

/// The most common refusals, rendered once: by each policy alone.
#[derive(Debug)]
pub(super) struct Prepared {
    by_policy: Box<[PreparedRefusal]>,
}

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

// ===== impl Refused =====

impl Refused {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The time after which a retry makes sense, as `Retry-After` tells it; `None` if none does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.map(Duration::from_secs)
    }

    /// The names of the policies that the request violates, those aside that are kept quiet.
    pub fn violated_policies(&self) -> impl Iterator<Item = &str> {
        self.violated.iter().map(PolicyName::as_str)
    }

    /// The response: the user's, gRPC's, or a problem; with `Retry-After`, and marked as a refusal.
    pub(super) fn respond<B>(&self, rules: &Rules, prepared: &Prepared, request: &mut Request<B>) -> Response<Said> {
        let Some(on_refusal) = &rules.on_refusal else {
            return self.refusal(rules, prepared).respond(request, self.retry_after);
        };
        let response = with_head(request, |head| on_refusal.answer(self, head));
        self.reason.mark().mark(response, self.retry_after)
    }

    /// What is answered to whom nobody else answers.
    fn refusal<'a>(&self, rules: &Rules, prepared: &'a Prepared) -> Cow<'a, PreparedRefusal> {
        if let (Reason::Limited, [name]) = (self.reason, &*self.violated)
            && let Some(index) = rules.policies.iter().position(|policy| policy.name == *name)
        {
            return Cow::Borrowed(prepared.by(index));
        }
        Cow::Owned(self.reason.refusal(&self.violated))
    }
}

/// `Retry-After`: whole seconds, rounded up, at least one, and up to a tenth more, so that those who were refused
/// together do not come back together. The nanoseconds of the wait are as good as dice.
pub(super) fn retry_after(wait: Duration) -> u64 {
    let dice = u64::from(wait.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54; // below 1024
    let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    nanos.saturating_add(nanos / 10_240 * dice).div_ceil(1_000_000_000).max(1)
}

// ===== impl Reason =====

impl Reason {
    const fn mark(self) -> Refusal {
        match self {
            Self::Limited => const { Refusal::new("rate_limited") },
            Self::TooCostly => const { Refusal::new("rate_limit_too_costly") },
            Self::NoKey => const { Refusal::new("rate_limit_no_key") },
            Self::Unavailable => const { Refusal::new("rate_limit_unavailable") },
        }
    }

    /// What is answered: a problem, or a status of gRPC.
    fn refusal(self, violated: &[PolicyName]) -> PreparedRefusal {
        let (status, message) = self.grpc();
        PreparedRefusal::new(self.mark(), self.problem(violated), status, message)
    }

    fn problem(self, violated: &[PolicyName]) -> Problem {
        match self {
            Self::Limited => {
                let names: Vec<&str> = violated.iter().map(PolicyName::as_str).collect();
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS)
                    .kind(QUOTA_EXCEEDED, "The request exceeds its quota")
                    .detail("Send it again after the time that Retry-After tells.");
                if names.is_empty() { problem } else { problem.member("violated-policies", names.as_slice()) }
            }
            Self::TooCostly => Problem::new(StatusCode::FORBIDDEN)
                .detail("The request costs more than its quota ever grants at once: split it into smaller ones."),
            Self::NoKey => {
                Problem::new(StatusCode::BAD_REQUEST).detail("The request lacks what its rate limit is counted by.")
            }
            Self::Unavailable => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("Rate limits cannot be checked at the moment. Send the request again later."),
        }
    }

    const fn grpc(self) -> (GrpcStatus, &'static str) {
        match self {
            Self::Limited => (GrpcStatus::RESOURCE_EXHAUSTED, "quota exceeded"),
            Self::TooCostly => {
                (GrpcStatus::RESOURCE_EXHAUSTED, "the request costs more than its quota ever grants at once")
            }
            Self::NoKey => (GrpcStatus::INVALID_ARGUMENT, "the request lacks what its limit is counted by"),
            Self::Unavailable => (GrpcStatus::UNAVAILABLE, "rate limiting is unavailable"),
        }
    }
}

// ===== impl Prepared =====

impl Prepared {
    pub(super) fn new(rules: &Rules) -> Self {
        let named = |policy: &Policy| Reason::Limited.refusal(slice::from_ref(&policy.name));
        let by = |policy: &Policy| if policy.quiet { Reason::Limited.refusal(&[]) } else { named(policy) };
        Self { by_policy: rules.policies.iter().map(by).collect() }
    }

    /// The refusal by this policy alone.
    pub(super) fn by(&self, policy: usize) -> &PreparedRefusal {
        &self.by_policy[policy]
    }
}
