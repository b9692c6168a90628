//! Which host a request is for.

use http::{HeaderMap, Uri, header};

/// A host as a key has it: without its port, if that is the one of the scheme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    /// In whatever case it came.
    name: &'a str,
    port: Option<u16>,
}

/// What a request says about its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Nothing,
    One(Host<'a>),
    /// Two hosts, or what is no host, or what not every recipient would take for the same.
    Nonsense,
}

/// DNS has no longer name.
const LONGEST: usize = 255;

// ===== impl Said =====

impl<'a> Said<'a> {
    /// RFC 9112 §3.2: one `Host` and not more. An authority in the target stands in its place (HTTP/2, absolute form); a
    /// `Host` beside it has to say the same, since who comes behind may read the other.
    pub(super) fn by(uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let mut fields = headers.get_all(header::HOST).iter();
        let field = match (fields.next(), fields.next()) {
            (None, _) => None,
            (Some(field), None) => match field.to_str().ok().and_then(|text| Host::parse(text, default)) {
                Some(host) => Some(host),
                None => return Self::Nonsense,
            },
            (Some(_), Some(_)) => return Self::Nonsense,
        };
        let Some(authority) = uri.authority() else { return field.map_or(Self::Nothing, Self::One) };
        match (Host::parse(authority.as_str(), default), field) {
            (Some(host), None) => Self::One(host),
            (Some(host), Some(field)) if host == field => Self::One(host),
            _ => Self::Nonsense,
        }
    }
}

// ===== impl Host =====

impl<'a> Host<'a> {
    /// Letters, digits, `-`, `.`, `_` and `~`, or an address in brackets; and a port. No user, and none of the escapes
    /// and delimiters that RFC 3986 allows in a name: nobody has them who does not want to be misread.
    fn parse(text: &'a str, default_port: u16) -> Option<Self> {
        let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (name, rest) = text.split_at(end);
        let is_sound = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(address) => {
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
            }
            None => name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')),
        };
        if !is_sound || name.is_empty() || name.len() > LONGEST {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some("") => None,
            Some(digits) if !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { name, port: port.filter(|port| *port != default_port) })
    }

    /// In lower case (RFC 9110 §4.2.3).
    pub(super) fn write(&self, out: &mut impl Extend<u8>) {
        out.extend(self.name.bytes().map(|b| b.to_ascii_lowercase()));
        if let Some(port) = self.port {
            out.extend([b':']);
            out.extend(itoa::Buffer::new().format(port).bytes());
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.name.eq_ignore_ascii_case(other.name)
    }
}

impl Eq for Host<'_> {}
