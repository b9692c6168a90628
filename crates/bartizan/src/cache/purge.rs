//! Taking back what was stored.
