//! Inputs that a human can read and write: sections with an empty line between them, of lines.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A `HeaderMap` holds no more than 32768 lines.
const LINES: usize = 64;

/// The sections of an input. What is too few are empty; what is too many belong to the last.
pub(in crate::cache) fn sections<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut rest = input;
    std::array::from_fn(|nth| {
        let end = rest.windows(2).position(|two| two == b"\n\n").filter(|_| nth + 1 < N);
        let (section, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 2..]));
        rest = after;
        section
    })
}

/// The lines of a section. An empty section has none.
pub(in crate::cache) fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split(|&byte| byte == b'\n').take(if section.is_empty() { 0 } else { LINES })
}

/// A head with one field, of which these are the lines.
pub(in crate::cache) fn field(name: &HeaderName, section: &[u8]) -> HeaderMap {
    let values = lines(section).filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut head = HeaderMap::new();
    for value in values {
        head.append(name, value);
    }
    head
}

/// A head of lines that are `name: value`.
pub(in crate::cache) fn head(section: &[u8]) -> HeaderMap {
    let mut head = HeaderMap::new();
    for line in lines(section) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            head.append(name, value);
        }
    }
    head
}

/// A number as large as it may be, if there are digits and nothing else.
pub(in crate::cache) fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).map(|number| number.unwrap_or(u64::MAX))
}
