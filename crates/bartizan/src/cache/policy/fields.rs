//! The fields that a cache keeps, and those that it does not (RFC 9111 §3.1, RFC 9110 §7.6.1).
