//! A shared HTTP cache (RFC 9111).
#![allow(dead_code, reason = "the service is being built")]

mod body;
mod entry;
mod fill;
mod flight;
mod form;
mod key;
mod memory;
mod policy;
mod purge;
mod status;
mod tags;
mod tier;

pub use self::{body::CacheBody, fill::BrokenOff, policy::CachePolicy};
