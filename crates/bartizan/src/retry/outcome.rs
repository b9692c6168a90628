//! What came of an attempt.

use super::{
    decision::Failed,
    event::Reason,
    failure::Failure,
    policy::RetryPolicy,
    told::{Told, pushback},
};
use crate::shared::{GrpcStatus, Refusal, is_grpc, wall_now};
use http::{HeaderMap, Response, StatusCode};

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The answer is the caller's.
    Answered,
    /// A layer on this side made the answer: the destination was never asked.
    Refused(Refusal, Reason),
    /// It has failed.
    Failed(Failed),
    /// That stands in the trailers of a gRPC call, which may be the first thing that comes.
    Unsaid,
}

/// Whether a layer on this side has made the answer instead of asking. A timeout of ours is none of these: the
/// destination was asked, and may have done its work.
#[inline]
pub(super) fn is_refusal<B>(answer: &Response<B>) -> bool {
    !answer.extensions().is_empty() && refusal_of(answer).is_some()
}

/// Whether a timeout of ours has made the answer, when it was tired of waiting for one.
pub(super) fn is_timeout<B>(answer: &Response<B>) -> bool {
    answer.extensions().get().is_some_and(says_timeout)
}

fn refusal_of<B>(answer: &Response<B>) -> Option<Refusal> {
    answer.extensions().get().filter(|refusal| !says_timeout(refusal)).copied()
}

fn says_timeout(refusal: &Refusal) -> bool {
    refusal.error_type() == "timeout"
}

/// Whether an answer says nothing to anything but a call of gRPC: the short way to the same outcome.
#[inline]
pub(super) fn is_plain<B>(policy: &RetryPolicy, answer: &Response<B>) -> bool {
    !is_of_ours(answer) && !policy.statuses.contain(answer.status())
}

/// Whether a layer on this side has made the answer, for whatever reason.
#[inline]
fn is_of_ours<B>(answer: &Response<B>) -> bool {
    !answer.extensions().is_empty() && answer.extensions().get::<Refusal>().is_some()
}

/// What an answer says, to a call of gRPC or any other request, as far as its head tells.
#[inline]
pub(super) fn of_answer<B>(policy: &RetryPolicy, answer: &Response<B>, to_grpc: bool) -> Outcome {
    let status = answer.status();
    if let Some(refusal) = refusal_of(answer) {
        return Outcome::Refused(refusal, Reason::Status(status));
    }
    if is_timeout(answer) {
        return Outcome::Failed(of_timeout(status, answer.headers()));
    }
    if policy.statuses.contain(status) {
        return Outcome::Failed(of_status(status, answer.headers()));
    }
    let is_grpc = to_grpc && status == StatusCode::OK && is_grpc(answer.headers());
    if is_grpc { of_grpc_head(answer.headers()) } else { Outcome::Answered }
}

/// Nobody has answered, whatever the answer looks like: what it says of trying again is our own word.
fn of_timeout(status: StatusCode, fields: &HeaderMap) -> Failed {
    let reason = GrpcStatus::of(fields).map_or(Reason::Status(status), |status| Reason::GrpcStatus(status.0));
    Failed { reason, failure: Failure::Ambiguous, throttled: false, told: Told::Nothing }
}

fn of_status(status: StatusCode, fields: &HeaderMap) -> Failed {
    Failed {
        reason: Reason::Status(status),
        failure: Failure::Ambiguous,
        throttled: status == StatusCode::TOO_MANY_REQUESTS,
        told: Told::by(fields, wall_now),
    }
}

/// An answer of trailers only has its status in the head.
fn of_grpc_head(fields: &HeaderMap) -> Outcome {
    GrpcStatus::of(fields).map_or(Outcome::Unsaid, |status| of_grpc(status, fields))
}

/// What the trailers of a gRPC call say, if they were the first thing that came.
pub(super) fn of_trailers(trailers: &HeaderMap) -> Outcome {
    GrpcStatus::of(trailers).map_or(Outcome::Answered, |status| of_grpc(status, trailers))
}

/// `UNAVAILABLE` is the status to try again after. `RESOURCE_EXHAUSTED` may be a quota of a second or a full disk:
/// only if the server says when, it is one too.
fn of_grpc(status: GrpcStatus, fields: &HeaderMap) -> Outcome {
    let throttled = status == GrpcStatus::RESOURCE_EXHAUSTED;
    let is_failed = match status {
        GrpcStatus::UNAVAILABLE => true,
        GrpcStatus::RESOURCE_EXHAUSTED => matches!(pushback(fields), Some(Told::After(_))),
        _ => false,
    };
    if !is_failed {
        return Outcome::Answered;
    }
    let told = Told::by(fields, wall_now);
    Outcome::Failed(Failed { reason: Reason::GrpcStatus(status.0), failure: Failure::Ambiguous, throttled, told })
}

/// What an error says.
pub(super) fn of_error(failure: Failure) -> Outcome {
    let reason = match failure {
        Failure::Unprocessed => Reason::Unprocessed,
        Failure::Ambiguous | Failure::Final => Reason::Error,
    };
    Outcome::Failed(Failed { reason, failure, throttled: false, told: Told::Nothing })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that a layer on this side has made.
    fn refusal(error_type: &'static str, status: StatusCode) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        answer.extensions_mut().insert(Refusal::new(error_type));
        answer
    }

    #[test]
    fn a_timeout_of_ours_is_ambiguous_and_no_refusal() {
        let policy = RetryPolicy::attempts(3);
        let answer = refusal("timeout", StatusCode::GATEWAY_TIMEOUT);
        assert!(is_timeout(&answer) && !is_refusal(&answer), "the destination was asked");
        let outcome = of_answer(&policy, &answer, false);
        let Outcome::Failed(failed) = outcome else { panic!("it is sent again: {outcome:?}") };
        assert_eq!(failed.failure, Failure::Ambiguous);
        assert_eq!(failed.reason, Reason::Status(StatusCode::GATEWAY_TIMEOUT));
    }

    #[test]
    fn what_another_layer_refused_is_never_sent_again_whatever_its_status() {
        let policy = RetryPolicy::attempts(3);
        for error_type in ["rate_limited", "circuit_open", "overloaded", "deadline_exceeded", "Timeout"] {
            for status in [429, 502, 503, 504, 200].map(|status| StatusCode::from_u16(status).expect("a status")) {
                let answer = refusal(error_type, status);
                assert!(is_refusal(&answer), "{error_type}");
                let outcome = of_answer(&policy, &answer, false);
                let Outcome::Refused(refusal, reason) = outcome else { panic!("{error_type} {status}: {outcome:?}") };
                assert_eq!((refusal.error_type(), reason), (error_type, Reason::Status(status)));
            }
        }
    }

    #[test]
    fn what_is_plain_has_been_answered() {
        let policy = RetryPolicy::attempts(3);
        for status in (100..1000).map(|status| StatusCode::from_u16(status).expect("a status")) {
            let mut answer = Response::new(());
            *answer.status_mut() = status;
            let outcome = of_answer(&policy, &answer, false);
            assert_eq!(is_plain(&policy, &answer), matches!(outcome, Outcome::Answered), "{status}");
            for ours in ["overloaded", "timeout"] {
                answer.extensions_mut().insert(Refusal::new(ours));
                assert!(!is_plain(&policy, &answer));
            }
        }
    }

    #[test]
    fn the_same_status_without_a_mark_is_the_destinations() {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        assert!(!is_refusal(&answer));
        assert!(matches!(of_answer(&RetryPolicy::attempts(3), &answer, false), Outcome::Failed(_)));
    }
}
