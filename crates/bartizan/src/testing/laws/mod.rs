//! The laws, one function each. A function returns if the layer keeps the law, and panics if it breaks it.

mod letting_go;
mod passing;
mod readiness;
mod state;
mod upgrade;
mod waking;

pub use self::{
    letting_go::{
        a_body_dropped_at_any_poll_leaks_nothing, a_future_dropped_at_any_poll_leaks_nothing,
        a_service_dropped_when_ready_leaks_nothing, what_is_lent_is_held_until_the_body_ends,
    },
    passing::{
        an_inner_error_comes_out_as_it_went_in, the_body_passes_untouched, the_request_reaches_the_service_untouched,
        the_response_head_passes_untouched,
    },
    readiness::{
        a_busy_inner_service_makes_the_layer_busy, a_readiness_error_comes_out_as_it_went_in,
        the_inner_service_is_called_only_when_ready, the_service_is_clone_and_send_and_sync,
    },
    state::{state_is_shared_over_a_hundred_applications, state_is_shared_over_all_routes_methods_and_connections},
    upgrade::an_upgraded_connection_passes_untouched,
    waking::{a_waiting_body_sleeps_until_woken, a_waiting_future_sleeps_until_woken},
};

/// Puts layers through every law: one row per layer, one test per law.
///
/// A row is a name and an expression of type [`Subject`](crate::testing::Subject), evaluated anew for each law:
///
/// ```
/// # use tower_layer::Identity;
/// bartizan::testing::laws! {
///     identity => bartizan::testing::Subject::new(Identity::new());
/// }
/// # fn main() {}
/// ```
///
/// The tests are called `identity::the_body_passes_untouched` and so on.
#[macro_export]
macro_rules! laws {
    ($($(#[$meta:meta])* $name:ident => $subject:expr;)*) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports, reason = "a row may name everything by its path")]
                use super::*;

                $crate::laws! { @row $name, $subject,
                    state_is_shared_over_a_hundred_applications
                    state_is_shared_over_all_routes_methods_and_connections
                    the_inner_service_is_called_only_when_ready
                    a_busy_inner_service_makes_the_layer_busy
                    a_readiness_error_comes_out_as_it_went_in
                    the_service_is_clone_and_send_and_sync
                    a_service_dropped_when_ready_leaks_nothing
                    a_future_dropped_at_any_poll_leaks_nothing
                    a_body_dropped_at_any_poll_leaks_nothing
                    what_is_lent_is_held_until_the_body_ends
                    a_waiting_future_sleeps_until_woken
                    a_waiting_body_sleeps_until_woken
                    the_request_reaches_the_service_untouched
                    the_response_head_passes_untouched
                    the_body_passes_untouched
                    an_inner_error_comes_out_as_it_went_in
                    an_upgraded_connection_passes_untouched
                }
            }
        )*
    };
    (@row $name:ident, $subject:expr, $law:ident $($laws:ident)*) => {
        #[test]
        fn $law() {
            $crate::testing::laws::$law(&$subject.named(stringify!($name)));
        }

        $crate::laws! { @row $name, $subject, $($laws)* }
    };
    (@row $name:ident, $subject:expr,) => {};
}
