//! The book and the README as doctests: each page is a module, so that a failing example names its page.
#![cfg(doctest)]

#[doc = include_str!("../README.md")]
pub mod readme {}

#[doc = include_str!("../CONTRIBUTING.md")]
pub mod contributing {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("order.md")]
pub mod order {}

#[doc = include_str!("lift.md")]
pub mod lift {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("rfc9111.md")]
pub mod rfc9111 {}

/// Why it is as it is.
pub mod decisions {
    #[doc = include_str!("decisions/0001-state-is-born-before-the-layer.md")]
    pub mod state_is_born_before_the_layer {}

    #[doc = include_str!("decisions/0002-our-own-gcra.md")]
    pub mod our_own_gcra {}

    #[doc = include_str!("decisions/0003-panics-are-caught-inside-the-request-id.md")]
    pub mod panics_are_caught_inside_the_request_id {}

    #[doc = include_str!("decisions/0004-memory-never-forgives.md")]
    pub mod memory_never_forgives {}

    #[doc = include_str!("decisions/0005-our-own-balance.md")]
    pub mod our_own_balance {}

    #[doc = include_str!("decisions/0006-interim-responses-between-two-messages.md")]
    pub mod interim_responses_between_two_messages {}

    #[doc = include_str!("decisions/0007-upgrades-are-asked-for.md")]
    pub mod upgrades_are_asked_for {}

    #[doc = include_str!("decisions/0008-the-plain-clients-own-pool.md")]
    pub mod the_plain_clients_own_pool {}

    #[doc = include_str!("decisions/0009-our-own-cache-policy.md")]
    pub mod our_own_cache_policy {}

    #[doc = include_str!("decisions/0010-a-key-holds-its-variants-and-a-purge-counts.md")]
    pub mod a_key_holds_its_variants_and_a_purge_counts {}

    #[doc = include_str!("decisions/0011-a-cache-is-always-ready.md")]
    pub mod a_cache_is_always_ready {}

    #[doc = include_str!("decisions/0012-a-front-before-the-map.md")]
    pub mod a_front_before_the_map {}

    #[doc = include_str!("decisions/0013-an-open-breaker-is-set-aside.md")]
    pub mod an_open_breaker_is_set_aside {}

    #[doc = include_str!("decisions/0014-who-waits-gives-back-what-is-ready.md")]
    pub mod who_waits_gives_back_what_is_ready {}
}
