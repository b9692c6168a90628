//! The address of an endpoint, and the name of an upstream.

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use std::fmt;

/// Where an endpoint is: a scheme, a host and a port.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

// ===== impl Address =====

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        if url.contains(['?', '#']) {
            return Err("it ends in a query or a fragment, which each request has itself");
        }
        let parts = url.parse::<Uri>().map_err(|_| "it is not a valid URL")?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let scheme = scheme.ok_or("it does not begin with http:// or https://")?;
        let authority = parts.authority.ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user name or password");
        }
        if authority.host().is_empty() {
            return Err("it names no host");
        }
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err("its port is no number from 1 to 65535");
        }
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err("it has a path, and the path is that of each request");
        }
        Ok(Self { scheme, authority })
    }

    /// Whether a TLS connection leads there.
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The URI of a request there that was for `uri`: the same path and query, whatever host it named.
    pub(super) fn rewrite(&self, uri: Uri) -> Uri {
        let mut parts = uri.into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        Uri::from_parts(parts).expect("a URI of scheme, authority and path is whole")
    }

    /// The value of `Host`, without the port that the scheme implies.
    pub(super) fn host(&self) -> HeaderValue {
        let host = match self.authority.port_u16() {
            Some(port) if port == self.implied_port() => self.authority.host(),
            _ => self.authority.as_str(),
        };
        HeaderValue::from_str(host).expect("an authority is visible ASCII")
    }

    /// Whether it is the same place, in whatever words.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let port = |address: &Self| address.authority.port_u16().unwrap_or(address.implied_port());
        self.scheme == other.scheme
            && self.authority.host().eq_ignore_ascii_case(other.authority.host())
            && port(self) == port(other)
    }

    fn implied_port(&self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, authority } = self;
        write!(f, "{scheme}://{authority}")
    }
}

/// A name has to be able to stand in a URL in the place of a host, which is compared without regard to case.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    match name.len() {
        0 => Err("it is empty"),
        1..=63 if name.bytes().all(fits) => Ok(()),
        1..=63 => Err("it is made of more than lower-case letters, digits, '-', '_' and '.'"),
        _ => Err("it is longer than 63 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (url, why) in [
            ("", "not a valid URL"),
            ("127.0.0.1:7102", "http://"),
            ("ftp://h", "http://"),
            ("/orders", "http://"),
            ("http://", "not a valid URL"),
            ("http://:80", "no host"),
            ("http://h:0", "port"),
            ("http://h:99999", "port"),
            ("http://h:", "port"),
            ("http://me:secret@h", "user name"),
            ("http://h/orders", "path"),
            ("http://h/?a=b", "query"),
            ("http://h?a=b", "query"),
            ("http://h#a", "fragment"),
            ("http://h h", "not a valid URL"),
        ] {
            let error = Address::parse(url).map(|address| address.to_string()).expect_err(url);
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_request_keeps_its_path_and_query_and_nothing_else() {
        let address = Address::parse("https://10.0.0.1:8443/").unwrap();
        for (uri, there) in [
            ("/a%2Fb?q=1", "https://10.0.0.1:8443/a%2Fb?q=1"),
            ("http://orders/a?q", "https://10.0.0.1:8443/a?q"),
            ("http://me@orders:81", "https://10.0.0.1:8443/"),
            ("orders:80", "https://10.0.0.1:8443/"),
        ] {
            assert_eq!(address.rewrite(uri.parse().unwrap()).to_string(), there, "{uri}");
        }
    }

    #[test]
    fn host_has_the_port_unless_the_scheme_says_it() {
        let host = |url| Address::parse(url).unwrap().host().to_str().unwrap().to_owned();
        assert_eq!(host("http://h:80"), "h");
        assert_eq!(host("http://h"), "h");
        assert_eq!(host("https://h:80"), "h:80");
        assert_eq!(host("https://[::1]:443/"), "[::1]");
    }

    #[test]
    fn a_place_is_the_same_in_whatever_words() {
        let is_same = |one, other| Address::parse(one).unwrap().is_same(&Address::parse(other).unwrap());
        for (one, other) in
            [("http://h", "http://h:80"), ("https://h:443/", "https://H"), ("http://[::1]:1", "http://[::1]:1/")]
        {
            assert!(is_same(one, other) && is_same(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("http://h", "https://h"),
            ("http://h", "http://h:443"),
            ("https://h", "https://h:80"),
            ("http://h", "http://g"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_name_fits_into_a_url() {
        for name in ["orders", "orders-v2", "orders.internal", "o_1"] {
            assert_eq!(check_name(name), Ok(()));
            assert_eq!(format!("http://{name}/x").parse::<Uri>().unwrap().host(), Some(name));
        }
        for name in ["", "Orders", "a b", "a/b", "a:1", "é", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
