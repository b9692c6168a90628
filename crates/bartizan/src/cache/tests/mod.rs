//! The cache as a service: what a client gets, and what the origin sees of it.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod again;
mod bodies;
mod coalescing;
mod conditions;
mod contract;
mod head;
mod hits;
mod invalidating;
mod keys;
mod model;
mod purging;
mod ranges;
mod stale;
mod support;
mod validating;
mod whose;
