//! May a response be stored (RFC 9111 §3)?
