//! Reading heads: one value or several, and what the client accepts.

use bytes::Bytes;
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
#[inline]
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

/// The value of a field that tells seconds. Up to an hour, which is most often enough, it allocates nothing.
pub(crate) fn seconds_value(seconds: u64) -> HeaderValue {
    match usize::try_from(seconds) {
        Ok(short) if short <= HOUR => HeaderValue::from_maybe_shared(Bytes::from_static(of_an_hour(short)))
            .unwrap_or_else(|_| long_value(seconds)),
        _ => long_value(seconds),
    }
}

const HOUR: usize = 3600;

/// The numbers up to 3600 in four digits each, one after the other.
#[allow(clippy::cast_possible_truncation, reason = "a digit is below ten")]
static DIGITS: [u8; 4 * (HOUR + 1)] = {
    let mut digits = [b'0'; 4 * (HOUR + 1)];
    let (mut index, mut rest) = (digits.len(), 0);
    while index > 0 {
        if index % 4 == 0 {
            rest = index / 4 - 1;
        }
        index -= 1;
        digits[index] += (rest % 10) as u8;
        rest /= 10;
    }
    digits
};

fn of_an_hour(seconds: usize) -> &'static [u8] {
    let zeros = usize::from(seconds < 1000) + usize::from(seconds < 100) + usize::from(seconds < 10);
    &DIGITS[4 * seconds + zeros..4 * (seconds + 1)]
}

/// Written into as many bytes as it needs. What `http` writes itself, it writes into more, and shares.
#[cold]
fn long_value(seconds: u64) -> HeaderValue {
    let mut digits = [b'0'; 20];
    let (mut rest, mut first) = (seconds, digits.len());
    while rest > 0 && first > 0 {
        first -= 1;
        digits[first] += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    HeaderValue::from_bytes(&digits[first..]).unwrap_or_else(|_| HeaderValue::from(seconds))
}

/// Whether the client takes a JSON problem (RFC 9110 §12.5.1).
///
/// No `Accept` takes anything. The most specific range that matches decides; one with `q=0` refuses. A field that can't
/// be read is as if it were not there.
#[inline]
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    match single(headers, &header::ACCEPT) {
        Single::Absent => true,
        Single::One(line) => plainly_takes_json(line.as_bytes()) || take_json([line]),
        Single::Several => take_json(headers.get_all(header::ACCEPT)),
    }
}

/// Whether a client that sends this line takes a JSON problem, told at a glance. What is no doubt true for
/// `application/json` can only be revoked for `application/problem+json`, and that takes room.
fn plainly_takes_json(line: &[u8]) -> bool {
    const REVOKED: &[u8] = b",application/problem+json;q=0";
    match line.strip_prefix(b"application/json") {
        Some([]) => true,
        Some(rest @ [b',', ..]) => rest.len() < REVOKED.len() || !rest.contains(&b'+'),
        Some(_) => false,
        None => line == b"*/*",
    }
}

/// Whether a client that sends these lines takes a JSON problem.
#[inline(never)]
fn take_json<'a>(lines: impl IntoIterator<Item = &'a HeaderValue>) -> bool {
    let (mut accepts, mut decided_by) = (false, 0);
    for line in lines {
        if !line.as_bytes().is_ascii() {
            return true;
        }
        let mut ranges = Some(line.as_bytes());
        while let Some(range) = ranges {
            // What describes a JSON problem has no comma in it: the range ends behind that.
            let (specific, rest) = described_by(range).unwrap_or((0, range));
            let (parameters, after) = match rest.iter().position(|&byte| byte == b',') {
                Some(comma) => (&rest[..comma], Some(&rest[comma + 1..])),
                None => (rest, None),
            };
            if specific > decided_by && matches!(parameters.trim_ascii_start().first(), None | Some(b';')) {
                (accepts, decided_by) = (!parameters.split(|&byte| byte == b';').any(is_q_zero), specific);
            }
            ranges = after;
        }
    }
    accepts
}

/// How closely the media range in front describes a JSON problem, if it does, and what comes after it.
fn described_by(ranges: &[u8]) -> Option<(u8, &[u8])> {
    let ranges = ranges.trim_ascii_start();
    match ranges.first()? {
        b'*' => Some((1, after(ranges, b"*/*")?)),
        b'a' | b'A' => match ranges.get(12)? {
            b'*' => Some((2, after(ranges, b"application/*")?)),
            b'j' | b'J' => Some((3, after(ranges, b"application/json")?)),
            _ => Some((4, after(ranges, b"application/problem+json")?)),
        },
        _ => None,
    }
}

/// What comes after `media`, most often spelled like this.
fn after<'a, const N: usize>(ranges: &'a [u8], media: &[u8; N]) -> Option<&'a [u8]> {
    let (start, rest) = ranges.split_first_chunk()?;
    (start == media || start.eq_ignore_ascii_case(media)).then_some(rest)
}

/// Whether a parameter is the weight 0, which has up to three decimal places.
fn is_q_zero(parameter: &[u8]) -> bool {
    matches!(parameter.trim_ascii(), [b'q' | b'Q', b'=', b'0', places @ ..] if places.iter().all(|byte| matches!(byte, b'.' | b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        /// Read at leisure: range by range, each taken apart, the most specific looked for among all that match.
        #[test]
        fn a_quick_reader_of_accept_is_right(
            lines in prop::collection::vec(prop::collection::vec(accept_token(), 0..12).prop_map(|line| line.concat()), 0..3),
        ) {
            let media = ["*/*", "application/*", "application/json", "application/problem+json"];
            let ranges = lines.iter().flat_map(|line| line.split(',')).map(|range| {
                let mut parts = range.split(';').map(|part| part.trim_ascii().to_ascii_lowercase());
                let name = parts.next().unwrap_or_default();
                (media.iter().position(|media| *media == name), !parts.any(|weight| weight == "q=0" || weight == "q=0.0"))
            });
            let best = ranges.filter(|(specific, _)| specific.is_some()).rev().max_by_key(|(specific, _)| *specific);
            let expected = best.map_or(lines.is_empty(), |(_, accepts)| accepts);

            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::ACCEPT, HeaderValue::from_str(line).expect("ASCII"));
            }
            prop_assert_eq!(accepts_json(&headers), expected);
        }
    }

    fn accept_token() -> impl Strategy<Value = &'static str> {
        const TOKENS: &[&str] = &[
            "*/*",
            "application/*",
            "application/json",
            "Application/JSON",
            "application/problem+json",
            "text/html",
            "a",
            "/",
            " ",
            ",",
            ", ",
            ";",
            " ; ",
            ";q=0",
            ";Q=0.0",
            ";q=0.1",
            ";q=1",
            ";level=1",
        ];
        prop::sample::select(TOKENS)
    }

    proptest! {
        #[test]
        fn seconds_are_written_as_they_are(seconds in prop_oneof![0..4000_u64, any::<u64>()]) {
            prop_assert_eq!(seconds_value(seconds), HeaderValue::from(seconds));
        }
    }

    #[test]
    fn every_number_of_an_hour_is_its_own() {
        assert!((0..=HOUR).all(|seconds| of_an_hour(seconds) == seconds.to_string().as_bytes()));
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
