//! A stored response that has been validated (RFC 9111 §3.2, §4.3.4).
