//! Bartizan's layers.

use super::{Terms, unknown};
use crate::{
    fixture::{Origin, tenant_names},
    run::Run,
    sink::Sink,
};
use bartizan::{
    access_log::{AccessLogLayer, Format},
    rate_limit::{Fields, Quota, RateLimitLayer, When, key},
    request_id::RequestIdLayer,
    tenant::{self, Tenant, TenantLayer, TenantSet},
};
use http::HeaderName;
use tower::{Layer, ServiceBuilder};

const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
/// So much that nobody is ever refused.
const AMPLE: Quota = Quota::per_second(1_000_000_000).burst(1_000_000);
/// So little that everybody is refused, but for the first time.
const SCANT: Quota = Quota::per_day(1);

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let id = RequestIdLayer::new();
    let with_id = Terms::OURS.with(&["x-request-id"]);
    let limit = RateLimitLayer::new(AMPLE);
    match name {
        "limit-client" => run.run(Terms::OURS, limit.layer(Origin)),
        "limit-header" => run.run(Terms::OURS, limit.key_by(key::header(TENANT)).layer(Origin)),
        "limit-fields" => {
            let limit = limit.fields(Fields::draft().when(When::Always));
            run.run(Terms::OURS.with(&["ratelimit", "ratelimit-policy"]), limit.layer(Origin))
        }
        "limit-refused" => {
            let limit = RateLimitLayer::new(SCANT).fields(Fields::none());
            run.run(Terms::OURS.refused(&["retry-after"]), limit.layer(Origin))
        }
        "limit-refused-fields" => {
            let terms = Terms::OURS.refused(&["retry-after", "ratelimit", "ratelimit-policy"]);
            run.run(terms, RateLimitLayer::new(SCANT).layer(Origin))
        }
        "request-id" => run.run(with_id, id.layer(Origin)),
        "log-json" => {
            let log = AccessLogLayer::new().write_to(Sink, Format::Json);
            run.run(with_id.logged(), ServiceBuilder::new().layer(id).layer(log).service(Origin))
        }
        "log-event" => {
            tracing_subscriber::fmt().json().with_writer(|| Sink).init();
            run.run(with_id.logged(), ServiceBuilder::new().layer(id).layer(AccessLogLayer::new()).service(Origin))
        }
        "log-silent" => run.run(with_id, ServiceBuilder::new().layer(id).layer(AccessLogLayer::new()).service(Origin)),
        "tenant" => run.run(Terms::OURS, tenants()?.layer(Origin)),
        "stack" => {
            let stack = ServiceBuilder::new()
                .layer(id)
                .layer(AccessLogLayer::new().write_to(Sink, Format::Json))
                .layer(limit.clone())
                .layer(tenants()?)
                .layer(RateLimitLayer::new(AMPLE).key_by(Tenant::key));
            run.run(with_id.logged(), stack.service(Origin))
        }
        _ => Err(unknown(name)),
    }
}

fn tenants() -> Result<TenantLayer, String> {
    let known = TenantSet::new(tenant_names()).map_err(|error| error.to_string())?;
    Ok(TenantLayer::new(tenant::from_header(TENANT.as_str())).known(known))
}
