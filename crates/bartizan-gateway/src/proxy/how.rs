//! What a proxy makes of the head of a request, and of that of an answer.

use super::{
    fields::{
        Forwarding, Via, add_forwarded, add_via, ends_here, has_unknown_coding, host, join_cookies, strip_hop_by_hop,
        strip_request,
    },
    target::Target,
    watch::UpstreamWatch,
};
use crate::{
    Interim, cached::Cached, carry::Carry, path::has_dot_segment, request_id::send_request_id, upload::Upload,
};
use axum::body::Body;
use bartizan::{Notes, ResponseBody, TrustedProxies};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version, header, request, uri};
use std::{mem, sync::Arc, time::Duration};

/// What was said of a proxy when it was made.
#[derive(Clone)]
pub(super) struct How {
    pub(super) to: Arc<Target>,
    pub(super) head_within: Duration,
    pub(super) keep_host: bool,
    pub(super) upgrades: bool,
    pub(super) keep: Arc<[HeaderName]>,
    pub(super) carry: Carry,
    pub(super) forwarding: Forwarding,
    pub(super) scheme: uri::Scheme,
    pub(super) trusted: TrustedProxies,
    pub(super) via: Arc<Via>,
}

// ===== impl How =====

impl How {
    /// The head as the service behind gets it, without the extensions that it came with. Of the header, `head` keeps what a
    /// problem asks for.
    pub(super) fn outgoing(&self, head: &mut request::Parts) -> Result<Request<Body>, StatusCode> {
        // `*` asks the server itself (RFC 9112 §3.2.4), which is nobody behind us.
        if head.method == Method::CONNECT
            || head.uri.path() == "*"
            || ends_here(head)
            || has_unknown_coding(&head.headers)
        {
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        // RFC 9112 §3.2: with two hosts, nobody can tell which site is meant.
        if has_dot_segment(head.uri.path()) || head.headers.get_all(header::HOST).iter().count() > 1 {
            return Err(StatusCode::BAD_REQUEST);
        }
        let uri = self.to.uri(&head.uri).ok_or(StatusCode::BAD_REQUEST)?;

        let mut accept = HeaderMap::new();
        for value in head.headers.get_all(header::ACCEPT) {
            accept.append(header::ACCEPT, value.clone());
        }
        strip_request(&mut head.headers, &self.keep);
        if head.version == Version::HTTP_2 {
            join_cookies(&mut head.headers);
        }
        send_request_id(&mut head.headers, &head.extensions);
        add_forwarded(head, self.forwarding, &self.scheme, &self.trusted, &self.keep);
        add_via(&mut head.headers, head.version, &self.via);
        let stands_there = self.keep_host && head.uri.authority().is_none();
        if !stands_there {
            match self.keep_host.then(|| host(head)).flatten() {
                Some(host) => _ = head.headers.insert(header::HOST, host),
                None => _ = head.headers.remove(header::HOST), // the client writes that of the URI
            }
        }
        let mut outgoing = Request::new(Body::empty());
        *outgoing.method_mut() = head.method.clone();
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = mem::replace(&mut head.headers, accept);
        Ok(outgoing)
    }

    /// The answer as the client gets it.
    pub(super) fn incoming<B: http_body::Body>(
        &self,
        response: Response<B>,
        head: &request::Parts,
        upload: Option<Upload>,
    ) -> Response<ResponseBody<B, UpstreamWatch>> {
        let (mut theirs, body) = response.into_parts();
        if Notes::of(&head.extensions).is_some()
            && let Some(cached) = Cached::of(&theirs.headers)
        {
            cached.note(&head.extensions);
        }
        strip_hop_by_hop(&mut theirs.headers, &[]);
        add_via(&mut theirs.headers, theirs.version, &self.via);
        theirs.version = Version::HTTP_11;
        let watch = UpstreamWatch(Notes::of(&head.extensions).cloned(), upload);
        Response::from_parts(theirs, ResponseBody::inner(body).watched_by(watch))
    }
}

/// RFC 9110 §15.2: a proxy passes interim responses on, without what was meant for the connection to it, and without the
/// tags of what is stored, which are for caches: these never see what comes before an answer.
pub(super) fn pass_interim(outgoing: &mut Request<Body>, to: Interim, via: Arc<Via>) {
    hyper::ext::on_informational(outgoing, move |told| {
        let mut fields = told.headers().clone();
        strip_hop_by_hop(&mut fields, &[]);
        for tags in ["cache-tag", "surrogate-key"] {
            fields.remove(tags);
        }
        add_via(&mut fields, told.version(), &via);
        to.send(told.status(), &fields);
    });
}
