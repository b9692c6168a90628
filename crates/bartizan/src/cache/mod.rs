//! A shared HTTP cache (RFC 9111).
#![allow(dead_code, reason = "the service is being built")]

mod body;
mod entry;
mod fill;
mod flight;
mod form;
mod generations;
mod host;
mod key;
mod key_rules;
mod memory;
mod policy;
mod purge;
mod statistics;
mod status;
mod tags;
mod tier;
mod weight;

pub use self::{
    key::CacheKey,
    key_rules::KeyRules,
    memory::ResponseCache,
    policy::CachePolicy,
    purge::{Purge, Purged},
    statistics::Statistics,
};
