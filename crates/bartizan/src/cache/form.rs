//! The stored form of an entry, for a second tier.
