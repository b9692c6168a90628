//! What a timeout knows. One for all clones of a layer.

use super::{due::Refused, layer::Event};
use crate::shared::{GrpcStatus, PreparedRefusal, Problem, Refusal, Said, with_head};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use std::{fmt, sync::Arc, time::Duration};

#[derive(Clone)]
pub(super) struct Policy {
    pub(super) limit: Duration,
    /// Whether a request needs nothing but the limit, and is passed on as it is.
    pub(super) is_plain: bool,
    pub(super) limit_by: Option<LimitOf>,
    pub(super) tightens: bool,
    pub(super) counts_readiness: bool,
    pub(super) on_refusal: Option<Answer>,
    pub(super) observer: Option<Observer>,
    timeout: PreparedRefusal,
    deadline: PreparedRefusal,
}

type LimitOf = Arc<dyn Fn(&Parts) -> Option<Duration> + Send + Sync>;
type Answer = Arc<dyn Fn(&Refused) -> Response<Bytes> + Send + Sync>;
type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

// ===== impl Policy =====

impl Policy {
    pub(super) fn new(limit: Duration) -> Self {
        let prepared = |refused: Refused, detail, message| {
            let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT).detail(detail);
            PreparedRefusal::new(Refusal::new(refused.error_type()), problem, GrpcStatus::DEADLINE_EXCEEDED, message)
        };
        Self {
            limit,
            is_plain: true,
            limit_by: None,
            tightens: false,
            counts_readiness: false,
            on_refusal: None,
            observer: None,
            timeout: prepared(
                Refused::Timeout(limit),
                "The service did not answer in time.",
                "the service did not answer in time",
            ),
            deadline: prepared(
                Refused::Deadline,
                "The time for this request is over.",
                "the time for this request is over",
            ),
        }
    }

    #[inline]
    pub(super) fn limit_of<B>(&self, request: &mut Request<B>) -> Duration {
        match &self.limit_by {
            None => self.limit,
            Some(limit_by) => limit_told(limit_by, request).unwrap_or(self.limit),
        }
    }

    /// What the client gets. The head of its request has gone to the service, so all that is known is whether it speaks
    /// gRPC.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&self, refused: Refused, is_grpc: bool) -> Response<Said> {
        if let Some(observer) = &self.observer {
            observer(&Event::Refused(refused));
        }
        let prepared = match refused {
            Refused::Timeout(_) => &self.timeout,
            Refused::Deadline => &self.deadline,
        };
        if let Some(answer) = &self.on_refusal {
            return prepared.mark(answer(&refused), None);
        }
        prepared.respond_late(is_grpc)
    }
}

// Kept apart, so that requests without a limit of their own do not pay for the room that this needs.
#[inline(never)]
fn limit_told<B>(limit_by: &LimitOf, request: &mut Request<B>) -> Option<Duration> {
    with_head(request, |head| limit_by(head))
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("limit", &self.limit)
            .field("tightens", &self.tightens)
            .field("counts_readiness", &self.counts_readiness)
            .finish_non_exhaustive()
    }
}
