//! Fields for one kind of cache (RFC 9213).
