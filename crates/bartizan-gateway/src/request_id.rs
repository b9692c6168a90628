//! The id under which everybody logs a request.

use bartizan::RequestId;
use http::{Extensions, HeaderMap, HeaderName};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sends the id that the request has here, in the place of what a stranger may have sent under the usual name.
pub(crate) fn send_request_id(headers: &mut HeaderMap, extensions: &Extensions) {
    if let Some(id) = RequestId::of(extensions) {
        headers.insert(X_REQUEST_ID, id.as_header_value().clone());
    }
}
