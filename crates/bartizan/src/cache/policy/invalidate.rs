//! What a request that changes something takes away (RFC 9111 §4.4).

use http::{
    HeaderMap, HeaderName, Method, StatusCode, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use smallvec::SmallVec;

/// How many lines of a field are looked at, and how long each may be.
const LINES: usize = 2;
const LENGTH: usize = 8 * 1024;

static TELLING: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

/// A URI of an origin that we cache for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Target {
    pub(in crate::cache) scheme: Scheme,
    pub(in crate::cache) authority: Authority,
    pub(in crate::cache) path_and_query: PathAndQuery,
}

/// Whether a method asks for nothing to be changed. One that is not known might (RFC 9111 §4.4).
pub(in crate::cache) fn is_safe(method: &Method) -> bool {
    // RFC 9110 §9.2.1; RFC 10008 for QUERY, RFC 4918, RFC 3253 and RFC 5323 for the others.
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
        || matches!(method.as_str(), "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// Whether something has been changed. RFC 9111 §4.4: an answer that is no error tells that it was.
pub(in crate::cache) fn invalidates(method: &Method, status: StatusCode) -> bool {
    !is_safe(method) && (status.is_success() || status.is_redirection())
}

/// Whether an answer tells of a URI, which may be another one than its target.
pub(in crate::cache) fn tells_of_others(answer: &HeaderMap) -> bool {
    answer.keys().any(|name| TELLING.contains(name))
}

/// What is stored no longer, now that `target` has been changed: itself, and those URIs of the same origin that the answer
/// tells.
pub(in crate::cache) fn invalidated(
    method: &Method,
    target: &Target,
    status: StatusCode,
    answer: &HeaderMap,
) -> SmallVec<[Target; 3]> {
    let mut gone = SmallVec::new();
    if !invalidates(method, status) {
        return gone;
    }
    gone.push(target.clone());
    for name in &TELLING {
        for line in answer.get_all(name).iter().take(LINES) {
            let told = line.to_str().ok().filter(|line| line.len() <= LENGTH).and_then(|line| target.resolve(line));
            if let Some(told) = told
                && !gone.contains(&told)
            {
                gone.push(told);
            }
        }
    }
    gone
}

// ===== impl Target =====

impl Target {
    /// Resolves a reference against this URI (RFC 3986 §5.2). `None` if it is of another origin: nobody may take away what
    /// is another's (RFC 9111 §4.4).
    pub(in crate::cache) fn resolve(&self, reference: &str) -> Option<Self> {
        let reference = reference.trim_matches([' ', '\t']);
        let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
        let rest = match scheme(reference) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(self.scheme.as_str()) => {
                rest.starts_with("//").then_some(rest)?
            }
            Some(_) => return None,
            None => reference,
        };
        let path_and_query = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                self.is_of(&rest[..end]).then_some(())?;
                match &rest[end..] {
                    query if query.starts_with('?') => clean(&format!("/{query}")),
                    "" => "/".to_owned(),
                    path => clean(path),
                }
            }
            None => self.relative(rest),
        };
        let path_and_query = PathAndQuery::try_from(path_and_query).ok()?;
        Some(Self { scheme: self.scheme.clone(), authority: self.authority.clone(), path_and_query })
    }

    fn relative(&self, reference: &str) -> String {
        let base = &self.path_and_query;
        match reference {
            "" => base.as_str().to_owned(),
            _ if reference.starts_with('/') => clean(reference),
            _ if reference.starts_with('?') => format!("{}{reference}", base.path()),
            _ => {
                let folder = base.path().rfind('/').map_or("/", |end| &base.path()[..=end]);
                clean(&format!("{folder}{reference}"))
            }
        }
    }

    /// RFC 9110 §4.3.1: hosts are the same in any case, and a port that is not said is the usual one. A user that is named
    /// stays in front of the host, and is no host of ours.
    fn is_of(&self, authority: &str) -> bool {
        let usual = if self.scheme == Scheme::HTTPS { "443" } else { "80" };
        let split = |authority| host_and_port(authority, usual);
        let (host, port) = split(authority);
        let (own_host, own_port) = split(self.authority.as_str());
        !host.is_empty() && host.eq_ignore_ascii_case(own_host) && port == own_port
    }
}

/// RFC 3986 §3.1: a letter, then letters, digits, and three signs, up to a colon.
fn scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    valid.then_some((scheme, rest))
}

fn host_and_port<'a>(authority: &'a str, usual: &'a str) -> (&'a str, &'a str) {
    match authority.rsplit_once(':') {
        Some((host, "")) => (host, usual),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, usual),
    }
}

/// Takes the dots out of a path that begins with a slash (RFC 3986 §5.2.4), and leaves its query alone.
fn clean(path_and_query: &str) -> String {
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    let mut kept = Vec::new();
    let segments = path.get(1..).unwrap_or_default();
    for segment in segments.split('/') {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path_and_query.len());
    for segment in &kept {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    // A path that ends in dots is a folder.
    let is_folder = matches!(segments.rsplit('/').next(), Some("." | ".."));
    if kept.is_empty() || is_folder {
        cleaned.push('/');
    }
    cleaned.push_str(query);
    cleaned
}

#[cfg(test)]
mod tests;
