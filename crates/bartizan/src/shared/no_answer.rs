//! A service that gave no answer.

/// The mark on a response that somebody made since the service behind gave none, or none that was of use: it could not be
/// reached, broke off before the head of its answer, or took too long; or a fallback stands in for it.
///
/// It stands in the response's extensions, and tells such a response from one that the service itself has sent: a cache
/// further out may then answer with what is stale (RFC 9111 §4.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;
