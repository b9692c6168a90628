//! The rules of a shared cache as functions of plain values: no clock, no store, no body.
//!
//! Everything here stands by itself: it knows `http`, and nothing else of this crate.

mod accept;
mod arrival;
mod choose;
mod condition;
mod content_range;
mod date;
mod directives;
mod etag;
mod fields;
mod freshen;
mod freshness;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzzing;
mod invalidate;
mod lifetime;
mod members;
mod not_stored;
mod options;
mod partial;
mod parts;
mod range;
mod reuse;
mod storing;
#[cfg(test)]
mod support;
mod targeted;
mod validate;
mod vary;

pub use self::options::CachePolicy;
pub(super) use self::{
    arrival::Arrival,
    choose::{Stored, by_date, choose},
    condition::{is_not_modified, not_modified_head, only},
    content_range::ContentRange,
    directives::{Reach, RequestDirectives, ResponseDirectives},
    etag::EntityTag,
    fields::{date_if_missing, kept, kept_trailers},
    freshen::{combined, freshen, is_same_by_head, tells_of_content, validated},
    freshness::Terms,
    invalidate::{Target, invalidated, invalidates, is_safe, tells_of_others},
    not_stored::NotStored,
    options::Normalise,
    partial::{multipart, partial_head, slice, unsatisfiable_head},
    parts::{Parts, without_range},
    range::{RangeAsk, Resolved, has_ranges, if_range_holds},
    reuse::{Failure, Reuse, may_stand_in, reuse},
    storing::{Asked, Kept, storable},
    validate::{add_validators, take_conditions, take_wishes},
    vary::{Selecting, Vary},
};
