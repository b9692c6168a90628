//! To other people's crates.

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(all(feature = "hyper_util", feature = "retry"))]
pub mod hyper_util;
#[cfg(all(feature = "axum", feature = "tenant"))]
mod tenant;
