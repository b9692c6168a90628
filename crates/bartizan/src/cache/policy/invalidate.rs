//! What a request that changes something takes away (RFC 9111 §4.4).

use http::{
    HeaderMap, HeaderName, Method, StatusCode, Uri,
    header::{CONTENT_LOCATION, LOCATION},
    uri::{Authority, PathAndQuery, Scheme},
};
use smallvec::SmallVec;

/// Whether a method asks for nothing to be changed, by its definition. One that nobody knows may change anything.
pub(in crate::cache) fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// The URLs whose responses may be outdated by a request to `target` that was answered so.
///
/// §4.4: the target, and what `Location` and `Content-Location` name, if it has the same origin; and only by an answer that is
/// no error. `target` is absolute.
pub(in crate::cache) fn invalidated(target: &Uri, status: StatusCode, response: &HeaderMap) -> SmallVec<[Uri; 3]> {
    let mut urls = SmallVec::new();
    if !status.is_success() && !status.is_redirection() {
        return urls;
    }
    urls.push(target.clone());
    let named = |name: HeaderName| {
        let mut lines = response.get_all(name).iter();
        let line = lines.next().filter(|_| lines.next().is_none())?;
        resolve(target, line.to_str().ok()?)
    };
    urls.extend([LOCATION, CONTENT_LOCATION].into_iter().filter_map(named).filter(|url| has_same_origin(target, url)));
    urls
}

/// RFC 9110 §4.3.1: scheme, host and port.
fn has_same_origin(one: &Uri, other: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().or(Some(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 }));
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// A reference as it is meant at `base` (RFC 3986 §5.2), without its fragment.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default().trim();
    let scheme = base.scheme_str()?;
    if let Some((name, _)) = reference.split_once("://")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return reference.parse().ok();
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        return build(scheme, rest[..end].parse().ok()?, &rest[end..]);
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    // RFC 3986 §4.2: before a colon in the first segment stands a scheme, and it is none of ours.
    if path.split('/').next().is_some_and(|first| first.contains(':')) {
        return None;
    }
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        _ if path.starts_with('/') => (without_dots(path), query),
        _ => {
            let folder = base.path().rfind('/').map_or("/", |slash| &base.path()[..=slash]);
            (without_dots(&format!("{folder}{path}")), query)
        }
    };
    let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    build(scheme, base.authority()?.clone(), &target)
}

fn build(scheme: &str, authority: Authority, target: &str) -> Option<Uri> {
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let target = PathAndQuery::try_from(target).ok()?;
    Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            ".." => _ = kept.pop(),
            "." => {}
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
#[path = "tests/invalidate.rs"]
mod tests;
