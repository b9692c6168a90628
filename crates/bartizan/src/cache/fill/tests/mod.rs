//! Bodies that are stored while they are read, against the bytes themselves.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod abandoned;
mod endings;
mod races;
mod schedules;
mod support;
mod window;
