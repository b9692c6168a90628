//! A second tier.
