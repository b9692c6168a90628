//! To other people's crates.

#[cfg(feature = "axum")]
pub mod axum;
