//! Services behind: where they are, and how they are called.
//!
//! An [`Upstream`] is a name, one or more endpoints, and policies. It is a Tower service over a pool of connections to each
//! endpoint, and a call to it goes through these, from the outside in:
//!
//! ```text
//! fallback              answers when all of the rest could not
//! total timeout         30 s for everything, and the request's deadline
//! retry                 3 attempts, within a budget
//! balance               an endpoint for each attempt
//!   breaker             from here on, one for each endpoint
//!   concurrency
//!   attempt timeout     10 s
//!   deadline            told to the endpoint: what is left of the attempt
//!   body idle timeout   30 s between two pieces of an answer
//!   connection          made within a second of knowing the address, kept for four of idleness
//! ```
//!
//! At each of the two timeouts stands a `Patience`: for the time in which the body of a request is on its way it takes the
//! place of the timeout, and counts no time that a client takes.
//!
//! `address.rs` tells where an endpoint is, `choice.rs` which one is taken, `stack.rs` what stands above what.

mod address;
mod balance;
mod body;
mod call;
mod choice;
mod connection;
mod endpoint;
mod error;
mod future;
mod idle;
mod instead;
mod patience;
#[cfg(not(feature = "tls"))]
mod plain;
mod service;
mod set;
mod stack;
mod status;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

#[cfg(not(feature = "tls"))]
use self::plain as connector;
#[cfg(feature = "tls")]
use self::tls as connector;

#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
pub use self::{
    body::UpstreamBody,
    call::Attempts,
    error::{SendError, UpstreamError},
    future::Answering,
    service::Upstream,
    set::Upstreams,
    status::{EndpointStatus, UpstreamEvent},
};
pub(crate) use self::{connection::IDLE, idle::Idle, tcp::tcp};
