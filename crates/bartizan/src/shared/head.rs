//! Reading heads: one value or several, and what the client accepts.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, request};
use std::mem;

/// Lends the head of a request to a function that wants it whole, as users' functions do.
///
/// Only the head goes there and back: to take the request apart would move its body too, and all of it twice.
pub(crate) fn with_head<B, T>(request: &mut Request<B>, f: impl FnOnce(&mut request::Parts) -> T) -> T {
    let (mut head, ()) = Request::new(()).into_parts();
    let swap = |request: &mut Request<B>, head: &mut request::Parts| {
        mem::swap(request.method_mut(), &mut head.method);
        mem::swap(request.uri_mut(), &mut head.uri);
        mem::swap(request.version_mut(), &mut head.version);
        mem::swap(request.headers_mut(), &mut head.headers);
        mem::swap(request.extensions_mut(), &mut head.extensions);
    };
    swap(request, &mut head);
    let told = f(&mut head);
    swap(request, &mut head);
    told
}

/// What a field holds that should come at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Single<'a> {
    /// The field is not there.
    Absent,
    /// The field came once.
    One(&'a HeaderValue),
    /// The field came on several lines, so that nobody can tell which one is meant.
    Several,
}

/// Reads a field that should come at most once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    // The usual head has no field on several lines, and is read with one look.
    if headers.len() == headers.keys_len() {
        return headers.get(name).map_or(Single::Absent, Single::One);
    }
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Absent,
        (Some(value), None) => Single::One(value),
        (Some(_), Some(_)) => Single::Several,
    }
}

/// The value of a field that tells seconds. Few of them are large, so few of them allocate.
pub(crate) fn seconds_value(seconds: u64) -> HeaderValue {
    const SMALL: [&str; 11] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let small = usize::try_from(seconds).ok().and_then(|seconds| SMALL.get(seconds));
    small.map_or_else(|| HeaderValue::from(seconds), |small| HeaderValue::from_static(small))
}

/// Whether the client takes a JSON problem (RFC 9110 §12.5.1).
///
/// No `Accept` takes anything. The most specific range that matches decides; one with `q=0` refuses. A field that can't
/// be read is as if it were not there.
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    let mut accepts = None;
    let mut decided_by = 0;
    for line in headers.get_all(header::ACCEPT) {
        accepts.get_or_insert(false);
        if !line.as_bytes().is_ascii() {
            return true;
        }
        for range in line.as_bytes().split(|&byte| byte == b',') {
            let Some((specific, parameters)) = described_by(range) else { continue };
            if specific > decided_by {
                (decided_by, accepts) = (specific, Some(!parameters.split(|&byte| byte == b';').any(is_q_zero)));
            }
        }
    }
    accepts.unwrap_or(true)
}

/// How closely a media range describes a JSON problem, if it does, and its parameters.
fn described_by(range: &[u8]) -> Option<(u8, &[u8])> {
    let range = range.trim_ascii_start();
    let (specific, media): (u8, &[u8]) = match range {
        [b'*', ..] => (1, b"*/*"),
        [b'a' | b'A', ..] => match range.get(12)? {
            b'*' => (2, b"application/*"),
            b'j' | b'J' => (3, b"application/json"),
            _ => (4, b"application/problem+json"),
        },
        _ => return None,
    };
    let (range, parameters) = range.split_at_checked(media.len())?;
    let ends = matches!(parameters.trim_ascii_start().first(), None | Some(b';'));
    (ends && range.eq_ignore_ascii_case(media)).then_some((specific, parameters))
}

/// Whether a parameter is the weight 0, which has up to three decimal places.
fn is_q_zero(parameter: &[u8]) -> bool {
    matches!(parameter.trim_ascii(), [b'q' | b'Q', b'=', b'0', places @ ..] if places.iter().all(|byte| matches!(byte, b'.' | b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_static(line));
        }
        accepts_json(&headers)
    }

    #[test]
    fn json_is_sent_unless_accept_rules_it_out() {
        assert!(accepts(&[]));
        assert!(accepts(&["*/*"]));
        assert!(accepts(&["text/html, application/*;q=0.1"]));
        assert!(accepts(&["text/html", "application/problem+json"]));
        assert!(accepts(&["application/json;q=0, application/problem+json"]));
        assert!(!accepts(&["text/html, text/*;q=0.8"]));
        assert!(!accepts(&["*/*, application/json; q=0.0"]));
        assert!(!accepts(&["text/plain", "*/*;q=0"]));
        assert!(accepts(&["text/html, Application/JSON ; level=1 ;q=0.001"]));
        assert!(!accepts(&["application/json ; Q=0.000"]));
        assert!(!accepts(&[""]));
    }

    #[test]
    fn a_field_on_two_lines_has_no_single_value() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, &header::HOST), Single::Absent);
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &header::HOST), Single::One(&HeaderValue::from_static("a")));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert_eq!(single(&headers, &header::HOST), Single::Several);
    }
}
