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
    Refused(Reason),
    /// It has failed.
    Failed(Failed),
    /// That stands in the trailers of a gRPC call, which may be the first thing that comes.
    Unsaid,
}

/// Whether a layer on this side has made the answer instead of asking. A timeout of ours is none of these: the
/// destination was asked, and may have done its work.
#[inline]
pub(super) fn is_refusal<B>(answer: &Response<B>) -> bool {
    !answer.extensions().is_empty()
        && answer.extensions().get::<Refusal>().is_some_and(|refusal| refusal.error_type() != "timeout")
}

/// What an answer says, to a call of gRPC or any other request, as far as its head tells.
#[inline]
pub(super) fn of_answer<B>(policy: &RetryPolicy, answer: &Response<B>, to_grpc: bool) -> Outcome {
    if is_refusal(answer) {
        return Outcome::Refused(Reason::Status(answer.status()));
    }
    let status = answer.status();
    if policy.statuses.contain(status) {
        return Outcome::Failed(of_status(status, answer.headers()));
    }
    let is_grpc = to_grpc && status == StatusCode::OK && is_grpc(answer.headers());
    if is_grpc { of_grpc_head(answer.headers()) } else { Outcome::Answered }
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
