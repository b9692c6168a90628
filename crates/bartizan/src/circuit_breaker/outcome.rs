//! What an answer says about the service.

use super::window::WHOLE_FAILURE;
use crate::shared::{GrpcStatus, Refusal, is_grpc};
use http::{Extensions, HeaderMap, Response, StatusCode, Version, response};
use http_body::Body;
use std::mem;

/// What an answer, or an error, says about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is well. Ends a series of failures.
    Success,
    /// It is not.
    Failure,
    /// It is under strain: counts as a part of a failure, and neither adds to a series of failures nor ends one. As a
    /// probe, it is no success.
    SoftFailure(Weight),
    /// Nothing. Counts nowhere.
    Ignored,
}

/// How much of a failure a soft failure is, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(u8);

/// Tells what an error of the service says about it: a function of the error, or [`AllFail`].
pub trait ClassifyError<E> {
    /// What the error says.
    fn classify_error(&self, error: &E) -> Outcome;
}

/// Every error is a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllFail;

pub(super) type Classify = dyn Fn(&response::Parts) -> Outcome + Send + Sync;

/// What can be told from a head; a call of gRPC tells in its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    /// The status is yet to come. Without one, the call has failed.
    pub(super) trailers_tell: bool,
    /// The time of the request was over. If the call was slow by then, it has failed.
    pub(super) out_of_time: bool,
}

// ===== impl Outcome =====

impl Outcome {
    /// What the status of a response says.
    ///
    /// 5xx are failures, but for 501 and 505, which say nothing. 429 is as much of a failure as any in the rate, but
    /// breaks no series. All others are evidence of life.
    #[must_use]
    pub const fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            429 => Self::SoftFailure(Weight::WHOLE),
            501 | 505 => Self::Ignored,
            500.. => Self::Failure,
            _ => Self::Success,
        }
    }

    pub(super) fn of_grpc(status: GrpcStatus) -> Self {
        match status {
            GrpcStatus::UNKNOWN
            | GrpcStatus::DEADLINE_EXCEEDED
            | GrpcStatus::INTERNAL
            | GrpcStatus::UNAVAILABLE
            | GrpcStatus::DATA_LOSS => Self::Failure,
            GrpcStatus::RESOURCE_EXHAUSTED => Self::SoftFailure(Weight::WHOLE),
            // CANCELLED by the client, and UNIMPLEMENTED.
            GrpcStatus(1 | 12) => Self::Ignored,
            GrpcStatus(_) => Self::Success,
        }
    }
}

// ===== impl Weight =====

impl Weight {
    /// As much as a failure.
    pub const WHOLE: Self = Self(WHOLE_FAILURE);

    /// So many hundredths of a failure.
    ///
    /// # Panics
    /// Unless there are 1 to 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        assert!(percent > 0 && percent <= WHOLE_FAILURE, "a weight is 1 to 100 hundredths of a failure");
        Self(percent)
    }

    pub(super) const fn get(self) -> u8 {
        self.0
    }
}

// ===== impl ClassifyError =====

impl<E> ClassifyError<E> for AllFail {
    fn classify_error(&self, _: &E) -> Outcome {
        Outcome::Failure
    }
}

impl<E, F: Fn(&E) -> Outcome> ClassifyError<E> for F {
    fn classify_error(&self, error: &E) -> Outcome {
        self(error)
    }
}

// ===== impl Told =====

impl Told {
    /// Whether a response is one of HTTP alone, tells that all is well, and has a body: most are like that.
    #[inline]
    pub(super) fn is_well<B: Body>(response: &Response<B>) -> bool {
        Outcome::of_status(response.status()) == Outcome::Success
            && response.version() < Version::HTTP_2
            && !response.body().is_end_stream()
            && response.extensions().get::<Refusal>().is_none()
    }

    /// What a response says before its body has come, by the rules of HTTP and of gRPC.
    pub(super) fn by_default<B: Body>(response: &Response<B>) -> Self {
        if let Some(told) = Self::by_refusal(response.extensions()) {
            return told;
        }
        Self::by_outcome(Outcome::of_status(response.status()), response)
    }

    /// What a response says of which this is known. An answer of gRPC says more.
    fn by_outcome<B: Body>(outcome: Outcome, response: &Response<B>) -> Self {
        // It comes by HTTP/2 or later, or has no body: nobody else pays for a look at its content type.
        if outcome == Outcome::Success
            && response.status() == StatusCode::OK
            && (response.version() >= Version::HTTP_2 || response.body().is_end_stream())
        {
            return Self::by_grpc(response.headers());
        }
        outcome.into()
    }

    /// What a response says by a user's function, which isn't asked about refusals of our own.
    #[inline(never)]
    pub(super) fn by<B: Body>(function: &Classify, response: &mut Response<B>) -> Self {
        if let Some(told) = Self::by_refusal(response.extensions()) {
            return told;
        }
        let (mut head, ()) = Response::new(()).into_parts();
        let swap = |response: &mut Response<B>, head: &mut response::Parts| {
            mem::swap(response.status_mut(), &mut head.status);
            mem::swap(response.version_mut(), &mut head.version);
            mem::swap(response.headers_mut(), &mut head.headers);
            mem::swap(response.extensions_mut(), &mut head.extensions);
        };
        swap(response, &mut head);
        let outcome = function(&head);
        swap(response, &mut head);
        Self::by_outcome(outcome, response)
    }

    /// What one of our own refusals says about the service behind: that it took too long, or nothing.
    fn by_refusal(extensions: &Extensions) -> Option<Self> {
        let error_type = extensions.get::<Refusal>()?.error_type();
        let outcome = if error_type == "timeout" { Outcome::Failure } else { Outcome::Ignored };
        Some(Self { out_of_time: error_type == "deadline", ..outcome.into() })
    }

    fn by_grpc(fields: &HeaderMap) -> Self {
        if !is_grpc(fields) {
            return Outcome::Success.into();
        }
        let status = GrpcStatus::of(fields).map(Outcome::of_grpc);
        Self { trailers_tell: status.is_none(), ..status.unwrap_or(Outcome::Success).into() }
    }
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, trailers_tell: false, out_of_time: false }
    }
}
