//! A shared HTTP cache (RFC 9111).
#![allow(dead_code, reason = "the service is being built")]

mod answer;
mod ask;
mod body;
mod entry;
mod event;
mod fetch;
mod fill;
mod flight;
mod form;
mod future;
mod generations;
mod head;
mod host;
mod invalidating;
mod key;
mod key_rules;
mod layer;
mod lead;
mod marks;
mod memory;
mod policy;
mod purge;
mod rules;
mod statistics;
mod status;
mod storing;
mod tags;
mod tier;
mod upkeep;
mod validating;
mod weight;

#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    body::CacheBody,
    event::{Event, Forward, Outcome},
    fill::{Abandoned, BrokenOff, Spawn},
    future::ResponseFuture,
    key::CacheKey,
    key_rules::KeyRules,
    layer::{Cache, CacheLayer},
    memory::ResponseCache,
    policy::CachePolicy,
    purge::{Purge, Purged},
    statistics::Statistics,
};
