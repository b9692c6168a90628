//! The rules of a shared cache as functions of plain values: no clock, no store, no body.
//!
//! Everything here stands by itself: it knows `http`, and nothing else of this crate.
#![allow(dead_code, unused_imports, reason = "the service that asks is being built")]

mod arrival;
mod condition;
mod date;
mod directives;
mod fields;
mod freshen;
mod freshness;
mod invalidate;
mod lifetime;
mod members;
mod not_stored;
mod options;
mod parts;
mod range;
mod reuse;
mod storing;
mod targeted;
mod vary;

pub use self::options::CachePolicy;
pub(super) use self::{
    arrival::Arrival,
    date::Dated,
    directives::{Reach, RequestDirectives, ResponseDirectives},
    freshness::{Terms, has_validator},
    not_stored::NotStored,
    options::Normalise,
    parts::Parts,
    reuse::{Failure, Reuse, may_stand_in, reuse},
    storing::{Asked, Kept, storable},
    targeted::directives as response_directives,
    vary::{Selecting, Vary},
};
