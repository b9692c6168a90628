//! The directives of `Cache-Control` (RFC 9111 §5.2).
