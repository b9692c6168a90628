//! Dates of HTTP (RFC 9110 §5.6.7).
