//! The dashboard: one set of services, shaped for two frontends.

use crate::{stack::X_TENANT_ID, upstreams::Behind};
use bartizan::tenant::Tenant;
use bartizan_gateway::{Aggregate, AggregateError, Source};
use std::time::Duration;

/// Everything that the page shows.
pub(crate) fn web(behind: &Behind) -> Result<Aggregate<Behind>, AggregateError> {
    dashboard(
        behind,
        [
            user().allow(["id", "number", "name", "plan", "address.city"]),
            Source::get("orders", "http://orders/orders?user={user}&limit=20").collection().deny(["internal_ref"]),
            Source::get("notifications", "http://notifications/notifications/{user}"),
            recommendations(),
        ],
    )
}

/// What fits on a phone.
pub(crate) fn mobile(behind: &Behind) -> Result<Aggregate<Behind>, AggregateError> {
    dashboard(
        behind,
        [
            user().allow(["name", "plan"]),
            Source::get("orders", "http://orders/orders?user={user}&limit=3")
                .collection()
                .allow(["id", "total_cents"])
                .rename("total_cents", "total"),
            Source::get("notifications", "http://notifications/notifications/{user}").allow(["unread"]).inline(),
            recommendations().allow(["title"]),
        ],
    )
}

fn dashboard<const N: usize>(behind: &Behind, sources: [Source; N]) -> Result<Aggregate<Behind>, AggregateError> {
    let aggregate = Aggregate::new(behind.clone(), sources)?;
    Ok(aggregate.forward([X_TENANT_ID]).carry::<Tenant>())
}

fn user() -> Source {
    Source::get("user", "http://users/users/{user}").required()
}

fn recommendations() -> Source {
    Source::get("recommendations", "http://recommendations/for/{user}")
        .target("items")
        .collection()
        .within(Duration::from_millis(300))
}
