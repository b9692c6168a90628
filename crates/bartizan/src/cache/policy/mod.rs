//! The rules of a shared cache as functions of plain values: no clock, no store, no body.
//!
//! Everything here stands by itself: it knows `http`, and nothing else of this crate.
#![allow(dead_code, unused_imports, reason = "the service that asks is being built")]

mod condition;
mod date;
mod directives;
mod fields;
mod freshen;
mod freshness;
mod invalidate;
mod options;
mod parts;
mod range;
mod reuse;
mod storing;
mod targeted;
mod vary;

pub use self::options::CachePolicy;
pub(super) use self::{
    freshness::{Arrival, Terms},
    options::Normalise,
    parts::Parts,
    vary::{Selecting, Vary},
};
