//! Bodies that are sent more than once: the first attempt streams, and what went by is kept for the next.

mod body;
mod error;
mod log;
mod memory;
mod waiting;

#[cfg(test)]
mod tests;

pub(super) use self::body::Replay;
pub use self::{body::RequestBody, error::BodyError, memory::ReplayMemory};
