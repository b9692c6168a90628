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
mod order;
mod purging;
mod query;
mod ranges;
mod stale;
mod status;
mod support;
mod tier;
mod validating;
mod whose;
