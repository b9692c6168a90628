//! Which host a request is for.

use super::buffer::Buffer;
use http::{HeaderMap, HeaderName, Uri, header};

/// A host as a key has it: without its port, if that is the one of the scheme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    /// In whatever case it came.
    name: &'a [u8],
    /// Whether there may be letters in it that are to be written small.
    has_upper: bool,
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

/// What each byte may be in a name.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        if byte.is_ascii_uppercase() {
            class[byte as usize] = PLAIN | UPPER;
        } else if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class[byte as usize] = PLAIN;
        }
        byte += 1;
    }
    class
};
const PLAIN: u8 = 1;
const UPPER: u8 = 2;

/// Whether a field stands on several lines. Where none does, it need not be looked for.
pub(super) fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.len() != headers.keys_len() && headers.get_all(name).iter().nth(1).is_some()
}

// ===== impl Said =====

impl<'a> Said<'a> {
    /// RFC 9112 §3.2: one `Host` and not more. An authority in the target stands in its place (HTTP/2, absolute form); a
    /// `Host` beside it has to say the same, since who comes behind may read the other.
    pub(super) fn by(uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let field = match uri.authority() {
            // Then it is there, and nearly always the first: sooner found than looked up.
            None => headers.iter().find_map(|(name, value)| (*name == header::HOST).then_some(value)),
            Some(_) => headers.get(header::HOST),
        };
        let field = match field {
            None => None,
            Some(_) if is_repeated(headers, &header::HOST) => return Self::Nonsense,
            Some(field) => match Host::parse(field.as_bytes(), default) {
                Some(host) => Some(host),
                None => return Self::Nonsense,
            },
        };
        let Some(authority) = uri.authority() else { return field.map_or(Self::Nothing, Self::One) };
        match (Host::parse(authority.as_str().as_bytes(), default), field) {
            (Some(host), None) => Self::One(host),
            (Some(host), Some(field)) if host == field => Self::One(host),
            _ => Self::Nonsense,
        }
    }
}

/// Whether a byte is none of a name; of what kinds the others are.
fn is_none(byte: u8, classes: &mut u8) -> bool {
    let class = CLASS[usize::from(byte)];
    *classes |= class;
    class == 0
}

// ===== impl Host =====

impl<'a> Host<'a> {
    /// Letters, digits, `-`, `.`, `_` and `~`, or an address in brackets; and a port. No user, and none of the escapes
    /// and delimiters that RFC 3986 allows in a name: nobody has them who does not want to be misread.
    fn parse(text: &'a [u8], default_port: u16) -> Option<Self> {
        let mut classes = 0;
        let end = match text {
            [b'[', address @ ..] => {
                let length = address.iter().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count();
                address.get(length).filter(|b| **b == b']' && length > 0)?;
                classes = UPPER;
                length + 2
            }
            name => name.iter().position(|byte| is_none(*byte, &mut classes)).unwrap_or(name.len()),
        };
        let (name, rest) = text.split_at_checked(end)?;
        if name.is_empty() || name.len() > LONGEST {
            return None;
        }
        let port = match rest {
            [] | [b':'] => None,
            [b':', b'1'..=b'9', ..] => Some(rest[1..].iter().try_fold(0_u16, |port, digit| {
                let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
                port.checked_mul(10)?.checked_add(digit)
            })?),
            _ => return None,
        };
        Some(Self { name, has_upper: classes & UPPER != 0, port: port.filter(|port| *port != default_port) })
    }

    /// In lower case (RFC 9110 §4.2.3).
    pub(super) fn write(&self, out: &mut Buffer) {
        let begin = out.len();
        out.extend_from_slice(self.name);
        if self.has_upper {
            out[begin..].make_ascii_lowercase();
        }
        if let Some(port) = self.port {
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.name.eq_ignore_ascii_case(other.name)
    }
}

impl Eq for Host<'_> {}
