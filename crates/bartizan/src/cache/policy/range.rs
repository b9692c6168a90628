//! A part of a representation (RFC 9110 §14).
