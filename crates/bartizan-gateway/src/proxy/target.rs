//! The URL of the service behind, and of each request there.

use http::{Uri, uri};
use std::fmt;

/// Where requests go.
pub(super) struct Target {
    pub(super) scheme: uri::Scheme,
    pub(super) authority: uri::Authority,
    /// Without a slash at its end.
    pub(super) path: String,
}

/// The URL of a service can't be used.
#[derive(Debug)]
pub struct ProxyError {
    url: String,
    why: &'static str,
}

// ===== impl Target =====

impl Target {
    /// Where this URL leads.
    ///
    /// # Errors
    /// If `url` is not the `http` or `https` URL of a host, with or without a path.
    pub(super) fn parse(url: &str) -> Result<Self, ProxyError> {
        let error = |why| ProxyError { url: url.to_owned(), why };
        let parsed: Uri = url.parse().map_err(|_| error("it is not a valid URL"))?;
        if parsed.query().is_some() || url.contains('#') {
            return Err(error("it ends in a query or a fragment, where the path of the request would follow"));
        }
        let parts = parsed.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| error("it does not begin with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| error("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("it holds a user name or password"));
        }
        let path = parts.path_and_query.map_or_else(String::new, |path| path.path().trim_end_matches('/').to_owned());
        Ok(Self { scheme, authority, path })
    }

    /// The URI of a request here: the path and query that it was for, after our own path.
    pub(super) fn uri(&self, of: &Uri) -> Option<Uri> {
        let theirs = of.path_and_query();
        let path = match theirs {
            Some(path) if self.path.is_empty() && path.as_str().starts_with('/') => path.clone(),
            _ => {
                let theirs = theirs.map_or("/", uri::PathAndQuery::as_str);
                let slash = if theirs.starts_with('/') { "" } else { "/" };
                format!("{}{slash}{theirs}", self.path).parse().ok()?
            }
        };
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).ok()
    }
}

// ===== impl ProxyError =====

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the URL {:?} can't be used: {}", self.url, self.why)
    }
}

impl std::error::Error for ProxyError {}
