//! Dates of HTTP (RFC 9110 §5.6.7).
//!
//! `httpdate` reads the same three forms, but with one fixed window of years and in one case only; so its arithmetic is not
//! used, and the dates of a cache are read here.

use http::{HeaderMap, HeaderName};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a field that holds one date says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Dated {
    Absent,
    /// Something that is no date, or more than one line.
    Invalid,
    At(SystemTime),
}

/// Reads a field that holds one date. Several lines are no date, even if they agree: nobody says which of them counts.
pub(in crate::cache) fn field(headers: &HeaderMap, name: &HeaderName, now: SystemTime) -> Dated {
    let mut lines = headers.get_all(name).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => Dated::Absent,
        (Some(line), None) => parse(line.as_bytes(), now).map_or(Dated::Invalid, Dated::At),
        (Some(_), Some(_)) => Dated::Invalid,
    }
}

/// Reads a date in one of the three forms that HTTP has had; `now` tells which century a year of two digits is in.
///
/// RFC 9110 §5.6.7: all three forms are to be accepted. RFC 9111 §4.2: a cache matches them without regard to case, and
/// takes a zone other than GMT for invalid. Whether the day of the week is the right one is not checked: it adds nothing,
/// and well-known servers get it wrong.
pub(in crate::cache) fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let value = value.trim_ascii();
    imf_fixdate(value).or_else(|| rfc_850(value, now)).or_else(|| asctime(value))
}

const DAYS: [&[u8]; 7] = [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];
const MONTHS: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
/// The seconds of a year, on average.
const YEAR: i64 = 31_556_952;

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &[u8]) -> Option<SystemTime> {
    let value: &[u8; 29] = value.try_into().ok()?;
    shaped(value, b"...,_.._..._...._..:..:.._GMT")?;
    DAYS.iter().find(|day| day[..3].eq_ignore_ascii_case(&value[..3]))?;
    moment(number(&value[12..16])?, month(&value[8..11])?, number(&value[5..7])?, &value[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
///
/// RFC 9110 §5.6.7: a date in this form that seems to be more than fifty years ahead is of the century before.
fn rfc_850(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let comma = value.iter().position(|&byte| byte == b',')?;
    let (day, rest) = value.split_at(comma);
    DAYS.iter().find(|name| name.eq_ignore_ascii_case(day))?;
    let rest: &[u8; 24] = rest.try_into().ok()?;
    shaped(rest, b",_..-...-.._..:..:.._GMT")?;
    let (month, day, time) = (month(&rest[5..8])?, number(&rest[2..4])?, &rest[12..20]);
    let two_digits = number(&rest[9..11])?;
    // A year that is a day off at its ends is good enough: the centuries on both sides are tried too.
    let this_year = 1970 + seconds(now).div_euclid(YEAR);
    let year = this_year - this_year.rem_euclid(100) + two_digits;
    let latest = seconds(now) + 50 * YEAR;
    [year + 100, year, year - 100]
        .into_iter()
        .filter_map(|year| moment(year, month, day, time))
        .find(|&date| seconds(date) <= latest)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(value: &[u8]) -> Option<SystemTime> {
    let value: &[u8; 24] = value.try_into().ok()?;
    shaped(value, b"..._..._.._..:..:.._....")?;
    DAYS.iter().find(|day| day[..3].eq_ignore_ascii_case(&value[..3]))?;
    let day = if value[8] == b' ' { &value[9..10] } else { &value[8..10] };
    moment(number(&value[20..24])?, month(&value[4..7])?, number(day)?, &value[11..19])
}

/// Whether the value has the marks of a form where the form has them: `.` is anything, `_` is a space.
fn shaped(value: &[u8], form: &[u8]) -> Option<()> {
    let alike = |(byte, mark): (&u8, &u8)| match mark {
        b'.' => true,
        b'_' => *byte == b' ',
        mark => byte.eq_ignore_ascii_case(mark),
    };
    value.iter().zip(form).all(alike).then_some(())
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn month(name: &[u8]) -> Option<i64> {
    MONTHS.chunks(3).zip(1..).find_map(|(month, number)| month.eq_ignore_ascii_case(name).then_some(number))
}

/// The moment of a day at `hh:mm:ss`. A leap second is taken for the one before it: RFC 9111 §4.2 wants the nearest time
/// that is not later.
fn moment(year: i64, month: i64, day: i64, time: &[u8]) -> Option<SystemTime> {
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..8])?);
    let length = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

/// The days from 1970-01-01 to a date of the Gregorian calendar (Hinnant's `days_from_civil`: years begin in March, so
/// that the leap day is the last of its year).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Whole seconds since 1970, rounded down, and held where the arithmetic above cannot overflow.
fn seconds(at: SystemTime) -> i64 {
    const FAR: u64 = 1 << 50;
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs().min(FAR).cast_signed(),
        Err(before) => -(before.duration().as_secs().min(FAR).cast_signed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-27 00:00:00.
    const NOW: u64 = 1_795_737_600;
    const SUNDAY: u64 = 784_111_777;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn read(value: &str) -> Option<i64> {
        parse(value.as_bytes(), now()).map(seconds)
    }

    #[test]
    fn three_forms_are_dates_in_any_case() {
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GMT",
            "sunday, 06-NOV-94 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            " Sun, 06 Nov 1994 08:49:37 GMT\t",
        ] {
            assert_eq!(read(form), Some(SUNDAY.cast_signed()), "{form}");
        }
    }

    #[test]
    fn nothing_else_is_a_date() {
        for wrong in [
            "",
            "0",
            "-1",
            "now",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37  GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT; x",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Thu, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 19x4 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 94",
            "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        for (form, whole) in [
            ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Friday, 06-Nov-76 08:49:37 GMT", "Fri, 06 Nov 2076 08:49:37 GMT"),
            ("Wednesday, 28-Dec-76 08:49:37 GMT", "Tue, 28 Dec 1976 08:49:37 GMT"),
            ("Saturday, 01-Jan-70 00:00:00 GMT", "Wed, 01 Jan 2070 00:00:00 GMT"),
            ("Saturday, 01-Jan-00 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ] {
            assert_eq!(read(form), read(whole), "{form}");
        }
        let in_1999 = UNIX_EPOCH + Duration::from_secs(946_000_000);
        let read_in_1999 = parse(b"Saturday, 01-Jan-00 00:00:00 GMT", in_1999);
        assert_eq!(read_in_1999.map(seconds), read("Sat, 01 Jan 2000 00:00:00 GMT"), "the next century is near");
    }

    #[test]
    fn a_date_may_be_before_1970_and_after_2038() {
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(read("Wed, 31 Dec 1969 23:59:59 GMT"), Some(-1));
        assert_eq!(read("Mon, 01 Jan 1900 00:00:00 GMT"), Some(-2_208_988_800));
        assert_eq!(read("Tue, 19 Jan 2038 03:14:08 GMT"), Some(1 << 31));
        assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        assert_eq!(read("Sat, 31 Dec 2016 23:59:60 GMT"), read("Sat, 31 Dec 2016 23:59:59 GMT"), "a leap second");
        assert!(read("Sat, 00 Jan 0000 00:00:00 GMT").is_none());
        assert!(read("Sat, 01 Jan 0000 00:00:00 GMT").is_some());
    }

    #[test]
    fn several_lines_are_no_date() {
        let mut headers = HeaderMap::new();
        assert_eq!(field(&headers, &http::header::DATE, now()), Dated::Absent);
        let line = http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.append(http::header::DATE, line.clone());
        let at = UNIX_EPOCH + Duration::from_secs(SUNDAY);
        assert_eq!(field(&headers, &http::header::DATE, now()), Dated::At(at));
        headers.append(http::header::DATE, line);
        assert_eq!(field(&headers, &http::header::DATE, now()), Dated::Invalid);
    }

    proptest! {
        #[test]
        fn what_httpdate_writes_is_read_back(second in 0_u64..253_402_300_800) {
            let at = UNIX_EPOCH + Duration::from_secs(second);
            prop_assert_eq!(parse(httpdate::fmt_http_date(at).as_bytes(), now()), Some(at));
        }

        #[test]
        fn no_bytes_and_no_clock_make_it_panic(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            shape in "[A-Za-z]{3,9},? ?[0-9a-z]{2}[- ][A-Za-z]{3}[- ][0-9]{2,4} [0-9:]{8} GMT",
            clock in any::<u32>(),
            back in any::<bool>(),
        ) {
            let distance = Duration::from_secs(u64::from(clock) * 100);
            let now = if back { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
            let now = now.unwrap_or(UNIX_EPOCH);
            let _ = parse(&value, now);
            let _ = parse(shape.as_bytes(), now);
        }
    }
}
