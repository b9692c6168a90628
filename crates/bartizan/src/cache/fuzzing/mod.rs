//! What must hold whatever comes in, as functions of bytes: for a fuzzer (`fuzz/`), and for the test below.
#![allow(clippy::unwrap_used, reason = "a model that cannot go on has found something")]

mod key;
mod stored_form;
mod structured;
#[cfg(test)]
mod tests;

pub use self::{key::key, stored_form::stored_form, structured::structured};
pub use super::policy::fuzzing::{cache_control, date, entity_tag, range, vary};
