//! What may be remembered, and where.

mod key;

pub use self::key::Key;
