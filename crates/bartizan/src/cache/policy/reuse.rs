//! May a stored response answer a request (RFC 9111 §4)?
