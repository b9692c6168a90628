//! One request to the origin, however many wait for it.
//!
//! The first to ask for a key leads: it goes to the origin. Who comes meanwhile follows, and waits for what the leader
//! says of it. A leader that goes without a word, as its client has left, is followed by exactly one of those who wait.

mod course;
mod flights;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub(super) use self::{
    course::Landing,
    flights::{Closer, Flight, Flights, Joined, Waited},
};
