//! The body of a response that a cache answers with.
