//! What a refused client gets.

use super::rules::Rules;
use crate::shared::{GrpcStatus, PreparedProblem, Problem, Refusal, answer_to, is_grpc, seconds_value, with_head};
use bartizan_store::PolicyName;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use smallvec::SmallVec;
use std::time::Duration;

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
    by_policy: Box<[PreparedProblem]>,
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

    /// The response: the user's, gRPC's, or a problem; with `Retry-After`, and marked as a refusal. Boxed at once, as it is
    /// large, and has a way to go.
    pub(super) fn respond<B>(
        &self,
        rules: &Rules,
        prepared: &Prepared,
        request: &mut Request<B>,
    ) -> Box<Response<Bytes>> {
        let mut response = match &rules.on_refusal {
            Some(on_refusal) => Box::new(with_head(request, |head| on_refusal.answer(self, head))),
            None => answer_to(request),
        };
        self.complete(rules, prepared, &mut response);
        response
    }

    /// Becomes the answer to the request whose fields and extensions are in `response`, unless it is the user's.
    fn complete(&self, rules: &Rules, prepared: &Prepared, response: &mut Response<Bytes>) {
        if rules.on_refusal.is_none() {
            if is_grpc(response.headers()) {
                *response = self.grpc();
            } else {
                self.problem(rules, prepared, response);
            }
        }
        if let Some(seconds) = self.retry_after
            && (rules.on_refusal.is_none() || !response.headers().contains_key(header::RETRY_AFTER))
        {
            response.headers_mut().insert(header::RETRY_AFTER, seconds_value(seconds));
        }
        response.extensions_mut().insert(self.reason.refusal());
    }

    fn problem(&self, rules: &Rules, prepared: &Prepared, response: &mut Response<Bytes>) {
        if let (Reason::Limited, [name]) = (self.reason, &*self.violated)
            && let Some(index) = rules.policies.iter().position(|policy| policy.name == *name)
        {
            return prepared.by_policy[index].answer(response);
        }
        PreparedProblem::from(self.reason.problem(&self.violated)).answer(response);
    }

    /// The trailers-only answer of gRPC: `RESOURCE_EXHAUSTED`, or what fits the reason.
    fn grpc(&self) -> Response<Bytes> {
        let (status, message) = match self.reason {
            Reason::Limited => (GrpcStatus::RESOURCE_EXHAUSTED, "quota exceeded"),
            Reason::TooCostly => {
                (GrpcStatus::RESOURCE_EXHAUSTED, "the request costs more than its quota ever grants at once")
            }
            Reason::NoKey => (GrpcStatus::INVALID_ARGUMENT, "the request lacks what its limit is counted by"),
            Reason::Unavailable => (GrpcStatus::UNAVAILABLE, "rate limiting is unavailable"),
        };
        status.trailers_only(message, self.retry_after)
    }
}

// ===== impl Reason =====

impl Reason {
    const fn refusal(self) -> Refusal {
        match self {
            Self::Limited => const { Refusal::new("rate_limited") },
            Self::TooCostly => const { Refusal::new("rate_limit_too_costly") },
            Self::NoKey => const { Refusal::new("rate_limit_no_key") },
            Self::Unavailable => const { Refusal::new("rate_limit_unavailable") },
        }
    }

    fn problem(self, violated: &[PolicyName]) -> Problem {
        let problem = match self {
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
        };
        problem.member("code", self.refusal().error_type())
    }
}

// ===== impl Prepared =====

impl Prepared {
    pub(super) fn new(rules: &Rules) -> Self {
        let by = |policy: &super::Policy| Reason::Limited.problem(std::slice::from_ref(&policy.name)).into();
        Self { by_policy: rules.policies.iter().map(by).collect() }
    }
}
