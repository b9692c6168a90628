//! To other people's crates.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(all(feature = "axum", feature = "tenant"))]
mod tenant;
