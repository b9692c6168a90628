//! Several services, one answer: called in parallel, shaped, merged, with word of how each of them went.

mod answer;
mod fetch;
mod service;
mod shape;
mod source;
mod template;

pub use self::{
    service::{Aggregate, AggregateError, Meta},
    source::Source,
};
