//! Reading heads: one value or several, and what the client accepts.

use http::{HeaderMap, HeaderName, HeaderValue, header};

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
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    let mut decision = None;
    let mut decided_by = 0;
    for line in headers.get_all(header::ACCEPT) {
        let Ok(line) = line.to_str() else { return true };
        for range in line.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let specific = match parts.next().unwrap_or("").to_ascii_lowercase().as_str() {
                "application/problem+json" => 4,
                "application/json" => 3,
                "application/*" => 2,
                "*/*" => 1,
                _ => continue,
            };
            let refused = parts
                .filter_map(|parameter| parameter.split_once('='))
                .any(|(name, q)| name.eq_ignore_ascii_case("q") && q.parse() == Ok(0.0_f32));
            if specific > decided_by {
                (decided_by, decision) = (specific, Some(!refused));
            }
        }
    }
    decision.unwrap_or(false)
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
