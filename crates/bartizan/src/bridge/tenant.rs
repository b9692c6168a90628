//! The tenant as an argument of an axum handler.

use crate::{
    Problem,
    tenant::{Refused, Tenant},
};
use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use std::convert::Infallible;

/// The tenant of the request. One that was let in without a tenant is answered with 400, like one that the layer
/// refuses; a route without a tenant layer further out with 500.
impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response<Body>> {
        if let Some(tenant) = Self::of(&parts.extensions) {
            return Ok(tenant.clone());
        }
        let rejection = if Self::is_waived(&parts.extensions) {
            let mut request = Request::from_parts(parts.clone(), ());
            Refused::Missing.prepared().respond(&mut request, None).map(Bytes::from)
        } else {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR)
                .detail("no tenant: add TenantLayer outside this route")
                .to_response(&parts.headers)
        };
        Err(rejection.map(Body::from))
    }
}

/// The tenant of the request, if it has one.
impl<S: Sync> OptionalFromRequestParts<S> for Tenant {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions).cloned())
    }
}
