//! What is read in a head, and written anew.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request};

/// The site that the client asked for. RFC 9112 §3.2.2: what the target says goes before `Host`.
pub(in crate::proxy) fn host(head: &request::Parts) -> Option<HeaderValue> {
    let Some(authority) = head.uri.authority() else { return head.headers.get(header::HOST).cloned() };
    let without_user = authority.as_str().rsplit('@').next()?;
    HeaderValue::try_from(without_user).ok()
}

/// RFC 9110 §7.6.2: counts a `TRACE` or `OPTIONS` down, and says whether it ends here.
pub(in crate::proxy) fn ends_here(head: &mut request::Parts) -> bool {
    if head.method != Method::TRACE && head.method != Method::OPTIONS {
        return false;
    }
    let Some(left) = head.headers.get_mut(header::MAX_FORWARDS) else { return false };
    let Some(forwards) = left.to_str().ok().and_then(|left| left.parse::<u64>().ok()) else { return false };
    *left = HeaderValue::from(forwards.saturating_sub(1));
    forwards == 0
}

/// RFC 9113 §8.2.3: HTTP/2 may send `Cookie` in pieces, and nothing else knows what to do with them.
pub(in crate::proxy) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, cookie);
    }
}

/// The members of a field that is a list, over all of its lines.
pub(super) fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let mut members = members(headers, name).map(|member| member.split(';').next().unwrap_or_default().trim());
    members.any(|member| member.eq_ignore_ascii_case(wanted))
}
