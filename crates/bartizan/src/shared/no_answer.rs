//! A service that gave no answer.

/// The mark on a response that somebody made since the service behind gave none: it could not be reached, broke off
/// before the head of its answer, or took too long.
///
/// It stands in the response's extensions, and tells such a 502 or 504 from one that the service itself has sent: a cache
/// further out may then answer with what is stale (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;
