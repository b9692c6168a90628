//! A refusal is a response that a layer made itself.

use super::{Context, Flag, GrpcStatus, PreparedProblem, Problem, Said, seconds_value, speaks_grpc};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header, request};
use std::{fmt, mem, sync::Arc};

/// The mark on a response that one of our layers made instead of calling the service.
///
/// It stands in the response's extensions: a retry further out does not retry what we refused ourselves, and the
/// access log tells why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    error_type: &'static str,
}

/// What a layer answers when it refuses for one reason, rendered once: a problem document, or the status of gRPC.
#[derive(Clone, Debug)]
pub(crate) struct PreparedRefusal {
    refusal: Refusal,
    problem: PreparedProblem,
    grpc: (GrpcStatus, &'static str),
    flag: Option<Flag>,
}

/// What a user put in the place of a layer's own refusal.
///
/// The function sees why the layer refuses (`R`) and the head of the request.
pub(crate) struct OnRefusal<R>(Arc<AnswerTo<R>>);

type AnswerTo<R> = dyn Fn(&R, &request::Parts) -> Response<Bytes> + Send + Sync;

// ===== impl Refusal =====

impl Refusal {
    /// A refusal of the kind `error_type`, such as `rate_limited`: the value of OpenTelemetry's `error.type`.
    ///
    /// # Panics
    /// If it is empty, or not visible ASCII: it stands in header fields. In a `const` that is an error of the compiler.
    #[must_use]
    pub const fn new(error_type: &'static str) -> Self {
        assert!(is_word(error_type), "an error type is one word of visible ASCII");
        Self { error_type }
    }

    /// Why, in one word of few: `rate_limited`, `tenant_missing`, …
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        self.error_type
    }

    /// Makes what a user answers instead a refusal all the same: with the mark, and `Retry-After` where it has none.
    pub(crate) fn mark(self, mut response: Response<Bytes>, retry_after: Option<u64>) -> Response<Said> {
        if let Some(seconds) = retry_after {
            response.headers_mut().entry(header::RETRY_AFTER).or_insert_with(|| seconds_value(seconds));
        }
        response.extensions_mut().insert(self);
        response.map(Said::from)
    }
}

const fn is_word(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if !first.is_ascii_graphic() {
            return false;
        }
        rest = tail;
    }
    !text.is_empty()
}

// ===== impl PreparedRefusal =====

impl PreparedRefusal {
    /// `problem` gets the member `code`, which is the error type; a client of gRPC gets `status` and `message` instead.
    pub(crate) fn new(refusal: Refusal, problem: Problem, status: GrpcStatus, message: &'static str) -> Self {
        Self {
            refusal,
            problem: problem.member("code", refusal.error_type()).into(),
            grpc: (status, message),
            flag: None,
        }
    }

    /// Leaves this flag and the error type in the notes for the access log: for a layer whose answers do not all get there.
    pub(crate) fn flagged(self, flag: Flag) -> Self {
        Self { flag: Some(flag), ..self }
    }

    /// The answer to this request, with `Retry-After` in seconds, if a retry makes sense.
    ///
    /// The request is over, so its fields and extensions serve once more: a refusal should cost little. Inlined, or it would
    /// be copied on its way from here.
    #[inline(always)]
    pub(crate) fn respond<B>(&self, request: &mut Request<B>, retry_after: Option<u64>) -> Response<Said> {
        self.respond_telling(request, retry_after, |_| ())
    }

    /// The same with what `tell` adds to the fields.
    #[inline(always)]
    pub(crate) fn respond_telling<B>(
        &self,
        request: &mut Request<B>,
        retry_after: Option<u64>,
        tell: impl FnOnce(&mut HeaderMap),
    ) -> Response<Said> {
        let is_grpc = speaks_grpc(request);
        let mut response = Response::new(Said::default());
        mem::swap(response.headers_mut(), request.headers_mut());
        mem::swap(response.extensions_mut(), request.extensions_mut());
        self.answer(&mut response, is_grpc, retry_after);
        tell(response.headers_mut());
        response
    }

    /// The answer to a request whose head has gone to the service already: all that is known of it is whether it speaks
    /// gRPC.
    pub(crate) fn respond_late(&self, is_grpc: bool) -> Response<Said> {
        let mut response = Response::new(Said::default());
        self.answer(&mut response, is_grpc, None);
        response
    }

    /// Becomes the answer to the request whose fields and extensions are in `response`.
    fn answer(&self, response: &mut Response<Said>, is_grpc: bool, retry_after: Option<u64>) {
        let context = Context::of(response.extensions());
        self.note(context);
        if is_grpc {
            let (status, message) = self.grpc;
            *response = status.trailers_only(message, retry_after).map(Said::from);
        } else {
            let content = self.problem.content(response.headers(), context);
            self.problem.fill(response, content);
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds_value(seconds));
        }
        response.extensions_mut().insert(self.refusal);
    }

    /// Notes for the access log why the request is refused, if it is not seen there by the answer.
    #[inline]
    pub(crate) fn note(&self, context: Option<&Context>) {
        if let Some(flag) = self.flag
            && let Some(notes) = context.and_then(|context| context.notes.as_ref())
        {
            notes.flag(flag);
            notes.error_type(self.refusal.error_type);
        }
    }

    /// [Marks](Refusal::mark) what a user answers instead.
    pub(crate) fn mark(&self, response: Response<Bytes>, retry_after: Option<u64>) -> Response<Said> {
        self.refusal.mark(response, retry_after)
    }
}

// ===== impl OnRefusal =====

impl<R> OnRefusal<R> {
    pub(crate) fn new(f: impl Fn(&R, &request::Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    pub(crate) fn answer(&self, refused: &R, head: &request::Parts) -> Response<Bytes> {
        (self.0)(refused, head)
    }
}

impl<R> Clone for OnRefusal<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> fmt::Debug for OnRefusal<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefusal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, StatusCode};

    fn refusal() -> PreparedRefusal {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE);
        PreparedRefusal::new(Refusal::new("closed"), problem, GrpcStatus::UNAVAILABLE, "closed for today")
    }

    #[test]
    fn a_refusal_is_a_problem_that_tells_when_to_come_back_and_bears_the_mark() {
        let response = refusal().respond(&mut Request::new(()), Some(3));
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &HeaderValue::from(3)));
        assert_eq!(response.extensions().get(), Some(&Refusal::new("closed")));
        let body: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(body["code"], "closed");
    }

    #[test]
    fn a_client_of_grpc_is_refused_in_its_own_words() {
        let mut request = Request::post("/").body(()).expect("a request");
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        let response = refusal().respond(&mut request, Some(3));
        assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &HeaderValue::from(14)));
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "3000");
        assert_eq!(response.extensions().get(), Some(&Refusal::new("closed")));
    }

    #[test]
    fn without_its_head_a_client_is_still_refused_in_its_own_words() {
        let plain = refusal().respond_late(false);
        assert_eq!((plain.status().as_u16(), plain.headers().get("grpc-status")), (503, None));
        let grpc = refusal().respond_late(true);
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &HeaderValue::from(14)));
        assert_eq!(grpc.extensions().get(), Some(&Refusal::new("closed")));
    }

    #[test]
    fn an_error_type_that_no_field_could_carry_is_none() {
        for no_word in ["", "überlastet", "over loaded", "over\nloaded", "over\0loaded", "over\u{7f}loaded"] {
            assert!(std::panic::catch_unwind(|| Refusal::new(no_word)).is_err(), "{no_word:?}");
        }
        for word in ["overloaded", "_OTHER", "a.b-c/1"] {
            assert!(HeaderValue::try_from(Refusal::new(word).error_type()).is_ok(), "{word:?}");
        }
    }
}
