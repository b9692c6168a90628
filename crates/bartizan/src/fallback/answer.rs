//! Who answers instead, and what each of them needs to keep of a request.

use super::{
    asking::Asking,
    reason::{Reason, says_cannot},
};
use crate::shared::{Deadline, ResponseBody, is_grpc, with_head};
use bytes::Bytes;
use http::{
    HeaderName, Request, Response,
    header::{
        CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, EXPECT,
        TRAILER, TRANSFER_ENCODING,
    },
    request::Parts,
};
use std::{
    fmt,
    future::{Ready, ready},
};
use tower_service::Service;

/// Who answers instead of a service that cannot.
///
/// The ways are [`fixed`], [`from_fn`], [`from_part`] and [`service`].
pub trait Answer<B, R, E> {
    /// What is kept of a request until it is known whether it is needed.
    type Kept;
    /// What it may fail with.
    type Error: Into<E>;
    /// The answer.
    type Future: Future<Output = Result<Response<ResponseBody<R>>, Self::Error>>;

    /// Takes what the answer will need, and no more: most requests never need it.
    fn keep(&self, request: &mut Request<B>) -> Self::Kept;

    /// Whether there is time to ask. Who answers at once has it always.
    fn has_time(kept: &Self::Kept) -> bool {
        let _ = kept;
        true
    }

    /// Answers.
    fn answer(&self, kept: Self::Kept, reason: Reason) -> Self::Future;

    /// Whether this can stand in the place of what the service answered. What you say yourself always can.
    fn can_stand(response: &Response<ResponseBody<R>>) -> bool {
        let _ = response;
        true
    }
}

/// Always the same answer.
#[derive(Clone)]
pub struct Fixed(Response<Bytes>);

/// What a function makes of the part of the request's head that another one has kept.
#[derive(Clone, Copy)]
pub struct Made<K, F> {
    keep: K,
    answer: F,
}

/// The answer of another service.
#[derive(Clone, Copy)]
pub struct Served<F>(F);

/// Always the same answer. Nothing of the request is kept for it.
///
/// ```
/// use bartizan::fallback::{FallbackLayer, fixed};
/// use bytes::Bytes;
/// use http::Response;
///
/// let no_recommendations = FallbackLayer::new(fixed(Response::new(Bytes::from_static(b"[]"))));
/// ```
#[must_use]
pub fn fixed(response: Response<Bytes>) -> Fixed {
    Fixed(response)
}

/// What this function makes of the request's head and the reason.
///
/// The head is copied for each request, whether it will be needed or not: for seven fields some 2 700 instructions and
/// eight allocations. Where a part will do, use [`from_part`].
pub fn from_fn(
    answer: impl Fn(&Parts, Reason) -> Response<Bytes> + Send + Sync + 'static,
) -> Made<
    impl Fn(&Parts) -> Box<Parts> + Send + Sync + 'static,
    impl Fn(Box<Parts>, Reason) -> Response<Bytes> + Send + Sync + 'static,
> {
    let copy = |head: &Parts| Box::new(head.clone());
    Made { keep: copy, answer: move |head: Box<Parts>, reason| answer(&head, reason) }
}

/// What the function `answer` makes of what the function `keep` has kept of the request's head, and of the reason.
///
/// ```
/// use bartizan::fallback::{FallbackLayer, Reason, from_part};
/// use bytes::Bytes;
/// use http::{Response, Uri};
///
/// let empty_page = FallbackLayer::new(from_part(
///     |head| head.uri.clone(),
///     |uri: Uri, reason: Reason| Response::new(Bytes::from(format!("{}: nothing here for now ({reason})", uri.path()))),
/// ));
/// ```
pub fn from_part<T>(
    keep: impl Fn(&Parts) -> T + Send + Sync + 'static,
    answer: impl Fn(T, Reason) -> Response<Bytes> + Send + Sync + 'static,
) -> Made<impl Fn(&Parts) -> T + Send + Sync + 'static, impl Fn(T, Reason) -> Response<Bytes> + Send + Sync + 'static> {
    Made { keep, answer }
}

/// The answer of another service, which gets the head of the request with an empty body, and without the fields that tell
/// of the body that is gone; the [`Reason`] stands in its extensions. It is asked only while there is time until the
/// request's [`Deadline`], and no longer. If it answers 5xx, or gRPC's `UNAVAILABLE` or `DEADLINE_EXCEEDED` in its head, it
/// could not help either: that is what the client gets, and it is not told as a fallback.
///
/// The head is copied for each request, whether it will be needed or not: for seven fields some 2 700 instructions and
/// eight allocations.
pub fn service<F>(service: F) -> Served<F> {
    Served(service)
}

/// RFC 9110 §15.4 drops most of these where a request loses its body, too. A length that is left would have the next
/// request of a connection read as the body of this one.
const OF_THE_BODY: [HeaderName; 9] = [
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TRAILER,
    EXPECT,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_RANGE,
];

// ===== impl Fixed =====

impl<B, R, E> Answer<B, R, E> for Fixed {
    type Kept = ();
    type Error = E;
    type Future = Ready<Result<Response<ResponseBody<R>>, E>>;

    fn keep(&self, _: &mut Request<B>) {}

    fn answer(&self, (): (), _: Reason) -> Self::Future {
        ready(Ok(self.0.clone().map(ResponseBody::own)))
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fixed").field(&self.0.status()).finish()
    }
}

// ===== impl Made =====

impl<B, R, E, K, T, F> Answer<B, R, E> for Made<K, F>
where
    K: Fn(&Parts) -> T,
    F: Fn(T, Reason) -> Response<Bytes>,
{
    type Kept = T;
    type Error = E;
    type Future = Ready<Result<Response<ResponseBody<R>>, E>>;

    fn keep(&self, request: &mut Request<B>) -> T {
        with_head(request, |head| (self.keep)(head))
    }

    fn answer(&self, kept: T, reason: Reason) -> Self::Future {
        ready(Ok((self.answer)(kept, reason).map(ResponseBody::own)))
    }
}

impl<K, F> fmt::Debug for Made<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}

// ===== impl Served =====

impl<B, R, E, F> Answer<B, R, E> for Served<F>
where
    B: Default,
    F: Service<Request<B>, Response = Response<R>, Error: Into<E>> + Clone,
{
    type Kept = Box<Parts>;
    type Error = F::Error;
    type Future = Asking<F, B>;

    fn keep(&self, request: &mut Request<B>) -> Box<Parts> {
        with_head(request, |head| Box::new(head.clone()))
    }

    fn has_time(head: &Box<Parts>) -> bool {
        Deadline::of(&head.extensions).is_none_or(|deadline| !deadline.remaining().is_zero())
    }

    fn answer(&self, mut head: Box<Parts>, reason: Reason) -> Asking<F, B> {
        head.extensions.insert(reason);
        let deadline = Deadline::of(&head.extensions);
        let is_grpc = is_grpc(&head.headers);
        for name in OF_THE_BODY {
            // The type of a call of gRPC is how all know its protocol, whatever its body.
            if !(is_grpc && name == CONTENT_TYPE) {
                head.headers.remove(name);
            }
        }
        Asking::new(self.0.clone(), Request::from_parts(*head, B::default()), deadline, is_grpc)
    }

    fn can_stand(response: &Response<ResponseBody<R>>) -> bool {
        !says_cannot(response.status(), response.headers())
    }
}

impl<F> fmt::Debug for Served<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}
