//! What holds of these rules whatever comes in, each against a reader that is as naive as can be.
#![allow(clippy::unwrap_used, reason = "a model that cannot go on has found something")]

mod control;
mod date;
mod etag;
mod range;
mod targeted;
pub(in crate::cache) mod text;
mod vary;

pub(in crate::cache) use self::targeted::targeted;
pub use self::{control::cache_control, date::date, etag::entity_tag, range::range, vary::vary};
