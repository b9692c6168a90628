//! A body that is stored while it streams, to any number of readers.
//!
//! No task is spawned for it: whoever has read all that came polls the origin's body for all. Wake-ups of that body go
//! to every reader that waits, so one that leaves, at whatever point, leaves nobody stranded. A task takes over only
//! when the last reader has left and the rest is worth having ([`Abandoned`]).
//!
//! Within the limit nothing is forgotten, and a slow reader slows nobody. Over it nothing is stored: what all have read
//! is freed, and the fastest waits for the slowest, though not for ever.

#![allow(unused_imports, reason = "the service is being built")]

mod abandoned;
mod broken;
mod chunks;
mod origin;
mod reader;
mod state;
mod stream;
mod turn;
mod waiting;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub(super) use self::{
    abandoned::on_current_runtime,
    chunks::joined,
    reader::Reader,
    stream::{Fill, Outcome, Plan},
};
pub use self::{
    abandoned::{Abandoned, Spawn},
    broken::BrokenOff,
};
