//! Tower middleware for HTTP services: what stands between a request and the code that answers it.
//!
//! Each layer is a module and a feature of its own; none is on by default. A layer takes any `Request<B>`, leaves the
//! service's error type alone, and answers a refusal itself, as `application/problem+json` (RFC 9457). What a layer
//! remembers is born before it and shared by every clone, so a limit of ten is ten over all routes and connections.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[allow(dead_code, reason = "a build with few layers leaves some of it without a user")]
mod shared;

pub mod bridge;

#[cfg(feature = "access_log")]
pub mod access_log;
#[cfg(feature = "cache")]
pub mod cache;
#[cfg(feature = "circuit_breaker")]
pub mod circuit_breaker;
#[cfg(feature = "concurrency_limit")]
pub mod concurrency_limit;
#[cfg(feature = "deadline")]
pub mod deadline;
#[cfg(feature = "fallback")]
pub mod fallback;
#[cfg(feature = "fault")]
pub mod fault;
#[cfg(feature = "rate_limit")]
pub mod rate_limit;
#[cfg(feature = "request_id")]
pub mod request_id;
#[cfg(feature = "retry")]
pub mod retry;
#[cfg(feature = "tenant")]
pub mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "timeout")]
pub mod timeout;

pub use crate::shared::{
    CidrError, Deadline, End, Flag, Member, NoAnswer, Notes, PeerAddr, Problem, Refusal, RequestId, ResponseBody,
    TrustedProxies, Unwatched, Watch, retry_after_of, speaks_grpc,
};
