//! The laws that every Tower layer over HTTP services should keep, as tests that any layer can be put through.
//!
//! A law that a layer breaks fails as one test, whose name says which law of which layer: a limiter that makes its
//! state in `Layer::layer` fails `rate_limit::state_is_shared_over_all_routes_methods_and_connections`.
//!
//! # Example
//!
//! One row per layer, at the top level of a test file. Each row is a module, each law a test in it.
//!
//! ```
//! use bartizan::testing::{Subject, laws};
//! use tower_layer::Identity;
//!
//! laws! {
//!     identity => Subject::new(Identity::new());
//! }
//! # fn main() {}
//! ```
//!
//! A [`Subject`] is the layer and what the laws must know of it: a request that it lets through, what it promises over
//! all its applications, and how to see that it has given back what it lent to a request.
//!
//! ```
//! use bartizan::testing::{Subject, laws};
//! use http::Request;
//! use tower_layer::Identity;
//!
//! let request = Request::builder().header("authorization", "Basic YTpi").body(()).expect("a valid request");
//! let subject = Subject::new(Identity::new()).request(request);
//! laws::the_inner_service_is_called_only_when_ready(&subject);
//! ```
//!
//! A layer that has answers of its own, as a cache has, need not wait for a service before it sees the request. It says
//! so, and then it is held to that: [`Subject::answers_by_itself`].
//!
//! # What a layer must be
//!
//! [`Lawful`] says it in types, so what breaks it does not compile: the error type is that of the inner service, the
//! service is `Clone + Send + Sync`, its future is `Send`, and neither needs the request's body to be `Clone`.
//!
//! ```compile_fail,E0271
//! use bartizan::testing::{ProbeError, Subject, laws};
//! use tower::util::MapErrLayer;
//!
//! // An error that is boxed on its way out is another error.
//! let boxing = MapErrLayer::new(|error: ProbeError| Box::<dyn std::error::Error + Send + Sync>::from(error));
//! laws::an_inner_error_comes_out_as_it_went_in(&Subject::new(boxing));
//! ```
//!
//! # Where it runs
//!
//! Each law builds a runtime of its own: on paused time, or, where it serves connections, on loopback sockets. None
//! sleeps for real. The laws know nothing of any layer of this crate.

mod body;
#[cfg(test)]
mod broken;
mod drive;
pub mod laws;
mod probe;
mod served;
mod subject;
#[cfg(test)]
mod tests;

pub use self::{
    body::ProbeBody,
    probe::{Probe, ProbeError, ProbeFuture},
    served::ForAxum,
    subject::{Lawful, Subject},
};
#[doc(inline)]
pub use crate::laws;
