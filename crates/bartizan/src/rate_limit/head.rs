//! The head of a request, read where it stands.

use crate::shared::TrustedProxies;
use http::{Extensions, HeaderMap, Method, Request, Uri, request::Parts};
use std::net::IpAddr;

/// The head of a request, which need not be taken apart for it; and all of it in one piece, for the functions of users.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    whole: Option<&'a Parts>,
}

impl<'a> Head<'a> {
    /// All of it, for rules that [want it](super::rules::Shape::wants_heads).
    pub(super) fn whole(&self) -> &'a Parts {
        self.whole.expect("whoever has a function is lent whole heads")
    }

    #[inline]
    pub(super) fn client(&self, proxies: &TrustedProxies) -> Option<IpAddr> {
        match self.whole {
            Some(head) => proxies.client(head),
            None => proxies.client_in(self.headers, self.extensions),
        }
    }
}

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(head: &'a Parts) -> Self {
        let Parts { method, uri, headers, extensions, .. } = head;
        Self { method, uri, headers, extensions, whole: Some(head) }
    }
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        let (headers, extensions) = (request.headers(), request.extensions());
        Self { method: request.method(), uri: request.uri(), headers, extensions, whole: None }
    }
}
