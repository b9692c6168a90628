//! Conditional requests (RFC 9110 §13, RFC 9111 §4.3).
