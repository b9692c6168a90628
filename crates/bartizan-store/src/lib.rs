//! What Bartizan's layers remember, and where: quotas that are decided in one atomic step, values that expire, and the
//! keys of both. [`Memory`] keeps them in this process, bounded.

mod buckets;
mod gcra;
mod key;
mod key_value;
mod memory;
mod quota;
mod scoped;
mod secret;
mod sync;
mod table;
mod throttle;
mod values;
mod window;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    key::Key,
    key_value::KeyValue,
    memory::Memory,
    quota::{Algorithm, Quota},
    scoped::Scoped,
    throttle::{Charge, Decision, PolicyName, Stamp, Standing, Throttle, Unavailable, Verdict},
};
