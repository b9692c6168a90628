//! What a request that changes something takes away (RFC 9111 §4.4).
