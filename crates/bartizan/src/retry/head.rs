//! A copy of a request's head, from which further attempts are made.

use super::{
    attempt::Attempt,
    carried::{Carried, Carry},
    fields::Fields,
};
use crate::shared::Deadline;
use http::{Extensions, Method, Request, Uri, Version};
use std::mem;

/// What every attempt begins with. The copy is made before the first one, which has the head itself; the last attempt
/// takes the copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    method: Method,
    uri: Option<Uri>,
    version: Version,
    fields: Fields,
    extensions: Carried,
}

// ===== impl Head =====

impl Head {
    /// Makes this the head of `request`. It is empty before.
    #[inline]
    pub(super) fn copy<B>(&mut self, request: &Request<B>, carry: &[Carry]) {
        self.method.clone_from(request.method());
        self.uri = Some(request.uri().clone());
        self.version = request.version();
        self.fields.copy(request.headers());
        if !request.extensions().is_empty() {
            self.extensions.copy(request.extensions(), carry);
        }
    }

    /// Which attempt it was that came to us, and its deadline.
    #[inline]
    pub(super) fn prior(&self) -> (Option<Attempt>, Option<Deadline>) {
        self.extensions.prior()
    }

    /// The extensions, as an attempt sees them.
    pub(super) fn extensions(&self) -> Extensions {
        self.extensions.clone().into_map()
    }

    /// A request with this head, of which nothing is left here.
    pub(super) fn take<B>(&mut self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = mem::take(&mut self.method);
        *request.uri_mut() = self.uri.take().unwrap_or_default();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.fields.to_map();
        *request.extensions_mut() = mem::take(&mut self.extensions).into_map();
        self.fields.clear();
        request
    }

    /// Empties it for another request.
    #[inline]
    pub(super) fn clear(&mut self) {
        // A name of somebody's own may be long.
        self.method = Method::GET;
        self.uri = None;
        self.fields.clear();
        self.extensions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_has_served_keeps_no_long_method() {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(&[b'A'; 10_000]).expect("a method");
        let mut head = Head::default();
        head.copy(&request, &[]);
        assert_eq!(head.method, *request.method());
        head.clear();
        assert_eq!(head.method, Method::GET);
    }
}
