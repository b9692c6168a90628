//! For hyper's client: what its errors say about a request, and about the service.

#[cfg(feature = "circuit_breaker")]
use crate::circuit_breaker::{ClassifyError, Outcome};
use crate::retry::{Causes, Classify, Failure};
use hyper_util::client::legacy;
use std::error::Error;

/// Reads the errors of hyper's client, for [`RetryLayer::classify`](crate::retry::RetryLayer::classify), and for
/// [`CircuitBreakerLayer::classify_error`](crate::circuit_breaker::CircuitBreakerLayer::classify_error).
///
/// Certain not to have been processed is a request for which no connection was made (a name without an address, a
/// refused connection, a handshake of TLS that failed), one that was still waiting to be written when its connection
/// closed, a stream of HTTP/2 that was refused (RFC 9113 §8.7), and one that a closing server said it will not look at
/// (§6.8). It sees into the client's own error and into boxed ones.
///
/// Final is what the caller has to answer for: above all that the body of the request broke off. Sent again, it would be
/// cut short as well; and it says nothing of the service, so that a breaker ignores it. All else is a failure there.
///
/// ```
/// use bartizan::{
///     bridge::hyper_util::HyperErrors,
///     retry::{RequestBody, RetryLayer, RetryPolicy},
/// };
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder(TokioExecutor::new()).build_http::<RequestBody<Full<Bytes>>>();
/// let client = RetryLayer::new(RetryPolicy::attempts(3)).classify(HyperErrors::new()).layer(client);
///
/// // Nobody listens there: what was never sent is sent again, though it is a POST.
/// let order = Request::post("http://127.0.0.1:1/orders").body(Full::from("one of each"))?;
/// let error = client.oneshot(order).await.expect_err("after three attempts");
/// assert!(error.is_connect());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HyperErrors {
    causes: Causes,
}

impl HyperErrors {
    /// Knows the errors of hyper, of its client, of HTTP/2, and of the standard library.
    #[must_use]
    pub const fn new() -> Self {
        Self { causes: Causes::knowing(failure) }
    }
}

impl Default for HyperErrors {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: 'static> Classify<E> for HyperErrors {
    fn failure(&self, error: &E) -> Failure {
        let any: &dyn std::any::Any = error;
        if let Some(error) = any.downcast_ref::<legacy::Error>() {
            return self.causes.read(error);
        }
        match any.downcast_ref::<hyper::Error>() {
            Some(error) => self.causes.read(error),
            None => self.causes.failure(error),
        }
    }
}

#[cfg(feature = "circuit_breaker")]
impl<E: 'static> ClassifyError<E> for HyperErrors {
    fn classify_error(&self, error: &E) -> Outcome {
        outcome(self.failure(error))
    }
}

/// What an error says of the service that says this of the request.
#[cfg(feature = "circuit_breaker")]
#[must_use]
pub fn outcome(failure: Failure) -> Outcome {
    if failure == Failure::Final { Outcome::Ignored } else { Outcome::Failure }
}

/// What this one error says, whatever stands behind it.
#[must_use]
pub fn failure(error: &(dyn Error + 'static)) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<legacy::Error>() {
        return error.is_connect().then_some(Failure::Unprocessed);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        // Canceled before it was written. Once it was, the same loss is an incomplete message.
        let is_unwritten = error.is_canceled().then_some(Failure::Unprocessed);
        return is_unwritten.or(error.is_user().then_some(Failure::Final));
    }
    let error = error.downcast_ref::<h2::Error>()?;
    let is_refused = error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    // h2 says this to the streams above the last one that the server will look at, whatever its reason to go, and to no
    // others: those end as their connection does.
    let is_turned_away = error.is_remote() && error.is_go_away();
    if is_refused || is_turned_away {
        return Some(Failure::Unprocessed);
    }
    // Neither the server nor h2 has ended the stream: hyper does that when the body of the request fails, whose own error
    // is lost on the way.
    let is_callers = error.is_reset() && !error.is_remote() && !error.is_library();
    is_callers.then_some(Failure::Final)
}
