//! The fields of a message that an intermediary drops, rewrites or adds.

mod forwarding;
mod head;
mod hops;
mod upgrade;
mod via;

#[cfg(test)]
mod tests;

pub use self::forwarding::Forwarding;
pub(super) use self::{
    forwarding::{add_forwarded, is_claim, strip_claims},
    head::{ends_here, host, join_cookies},
    hops::{has_unknown_coding, strip_hop_by_hop, strip_named, strip_request},
    upgrade::{add_upgrade, taken_upgrade, wanted_upgrade},
    via::{Via, add_via},
};
