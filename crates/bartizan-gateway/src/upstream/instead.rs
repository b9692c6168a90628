//! The fallback of an upstream, of whatever type it is.

use super::{body::AttemptBody, error::SendError};
use axum::body::Body;
use bartizan::{
    ResponseBody,
    fallback::{Answer, Reason},
};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::{any::Any, fmt, sync::Arc};

/// What answers instead of an upstream, if anything does.
#[derive(Clone, Default)]
pub(super) struct Instead(Option<Arc<dyn Erased>>);

/// What was kept of a request for the fallback.
pub(super) struct Kept {
    what: Box<dyn Any + Send>,
    has_time: fn(&dyn Any) -> bool,
}

type Answered = Result<Response<ResponseBody<AttemptBody>>, SendError>;

pub(super) trait Erased: Send + Sync {
    fn keep(&self, request: &mut Request<Body>) -> Kept;
    fn answer(&self, kept: Box<dyn Any + Send>, reason: Reason) -> BoxFuture<'static, Answered>;
}

// ===== impl Instead =====

impl Instead {
    pub(super) fn new<A>(answer: A) -> Self
    where
        A: Answer<Body, AttemptBody, SendError, Kept: Send + 'static, Future: Send + 'static> + Send + Sync + 'static,
    {
        Self(Some(Arc::new(answer)))
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Answer<Body, AttemptBody, SendError> for Instead {
    type Kept = Option<(Kept, Arc<dyn Erased>)>;
    type Error = SendError;
    type Future = BoxFuture<'static, Answered>;

    fn keep(&self, request: &mut Request<Body>) -> Self::Kept {
        let erased = self.0.as_ref()?;
        Some((erased.keep(request), Arc::clone(erased)))
    }

    /// Who is not there has no time.
    fn has_time(kept: &Self::Kept) -> bool {
        kept.as_ref().is_some_and(|(kept, _)| (kept.has_time)(&*kept.what))
    }

    fn answer(&self, kept: Self::Kept, reason: Reason) -> Self::Future {
        let (kept, erased) = kept.expect("nobody is asked who has no time");
        erased.answer(kept.what, reason)
    }
}

impl fmt::Debug for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Instead" } else { "None" })
    }
}

impl<A> Erased for A
where
    A: Answer<Body, AttemptBody, SendError, Kept: Send + 'static, Future: Send + 'static> + Send + Sync,
{
    fn keep(&self, request: &mut Request<Body>) -> Kept {
        let has_time = |kept: &dyn Any| kept.downcast_ref().is_none_or(A::has_time);
        Kept { what: Box::new(Answer::keep(self, request)), has_time }
    }

    fn answer(&self, kept: Box<dyn Any + Send>, reason: Reason) -> BoxFuture<'static, Answered> {
        let kept = kept.downcast().expect("what was kept comes back");
        let answer = Answer::answer(self, *kept, reason);
        Box::pin(async move { answer.await.map_err(Into::into) })
    }
}
