//! For how long a server asks to be left alone.

use super::{Single, single, wall_now};
use http::{HeaderMap, header};
use std::{
    str::from_utf8,
    time::{Duration, SystemTime},
};

/// For how long the sender of these fields asks to be left alone, in `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in
/// any of the three forms of §5.6.7. `None` if it does not, or not in words that can be read.
///
/// A date is compared with the sender's own clock if there is a `Date`, and else with ours. One that is past is zero.
#[must_use]
pub fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers, wall_now)
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in any of the three forms of §5.6.7. `None` if there is none, or
/// none that can be read.
///
/// A date is compared with the server's own clock if its answer has a `Date`, and else with `now`. One that is past is
/// zero.
pub(crate) fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let Single::One(value) = single(headers, &header::RETRY_AFTER) else { return None };
    let value = value.as_bytes().trim_ascii();
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = from_utf8(value).ok()?.parse();
        return Some(Duration::from_secs(seconds.unwrap_or(u64::MAX))); // too many digits for a number: very long
    }
    let date = |value: &[u8]| httpdate::parse_http_date(from_utf8(value).ok()?).ok();
    let until = date(value)?;
    let servers_now = match single(headers, &header::DATE) {
        Single::One(now) => date(now.as_bytes().trim_ascii()),
        Single::Absent | Single::Several => None,
    };
    Some(until.duration_since(servers_now.unwrap_or_else(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn told(fields: &[(HeaderName, &str)], now: u64) -> Option<u64> {
        let value = |value: &str| HeaderValue::from_str(value).expect("a value");
        let mut map = HeaderMap::new();
        for (name, text) in fields {
            map.append(name, value(text));
        }
        retry_after(&map, || SystemTime::UNIX_EPOCH + Duration::from_secs(now)).map(|time| time.as_secs())
    }

    fn at(value: &str, now: u64) -> Option<u64> {
        told(&[(header::RETRY_AFTER, value)], now)
    }

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_read() {
        assert_eq!((at("7", 0), at(" 0 ", 0), at("99999999999999999999", 0)), (Some(7), Some(0), Some(u64::MAX)));
        for date in [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!((at(date, 784_111_770), at(date, 784_111_780)), (Some(7), Some(0)), "{date}");
        }
    }

    #[test]
    fn a_date_is_read_by_the_clock_of_the_server_that_wrote_it() {
        let earlier = "Sun, 06 Nov 1994 08:49:30 GMT";
        assert_eq!(told(&[(header::RETRY_AFTER, DATE), (header::DATE, earlier)], 0), Some(7));
        assert_eq!(told(&[(header::RETRY_AFTER, DATE), (header::DATE, "noon")], 784_111_777), Some(0));
    }

    #[test]
    fn what_is_neither_or_stands_there_twice_is_nothing() {
        for value in ["", "-1", "1.5", "soon", "7 s", "Sun, 31 Feb 1994 08:49:37 GMT x"] {
            assert_eq!(at(value, 0), None, "{value}");
        }
        assert_eq!(told(&[(header::RETRY_AFTER, "1"), (header::RETRY_AFTER, "1")], 0), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let map = HeaderMap::from_iter([(header::RETRY_AFTER, value)]);
                retry_after(&map, || SystemTime::UNIX_EPOCH);
            }
        }
    }
}
