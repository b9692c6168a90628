//! What the formats share: a line's form, and how numbers and times are written.

use super::{
    combined::write_combined,
    json::write_json,
    line::{Line, Names},
    text::write_text,
};
use std::{
    cell::Cell,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The form of a line that goes to a writer.
///
/// Nothing that a client sends can break out of its field in any of them: quotes, backslashes, control bytes, escape
/// sequences and marks that turn the reading direction come out escaped, and a line is always one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// `key=value` pairs (logfmt): easy on the eyes, and on `grep`.
    Text,
    /// Apache's *combined* log format, for tools that know it.
    Combined,
}

// ===== impl Format =====

impl Format {
    /// Appends a line, with its newline.
    pub(super) fn write(self, line: &Line<'_>, names: Names, out: &mut Vec<u8>) {
        match (self, names) {
            (Self::Json, Names::Snake) => write_json::<false>(line, out),
            (Self::Json, Names::Camel) => write_json::<true>(line, out),
            (Self::Text, Names::Snake) => write_text::<false>(line, out),
            (Self::Text, Names::Camel) => write_text::<true>(line, out),
            (Self::Combined, _) => write_combined(line, out),
        }
        out.push(b'\n');
    }
}

// ===== numbers =====

/// Appends a number, without the detour of `fmt`, which costs several times as much.
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    let mut rest = number;
    loop {
        at -= 1;
        text[at] = digit(rest);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The digits of a number below ten.
#[allow(clippy::cast_possible_truncation, reason = "a digit is less than ten")]
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// The last two digits of a number.
pub(super) const fn two_digits(number: u64) -> [u8; 2] {
    [digit(number / 10), digit(number)]
}

/// The last three digits of a number.
pub(super) const fn three_digits(number: u64) -> [u8; 3] {
    [digit(number / 100), digit(number / 10), digit(number)]
}

/// Appends a time in milliseconds, with three decimals: `12.345`.
pub(super) fn push_millis(out: &mut Vec<u8>, time: Duration) {
    push_number(out, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let micros = u64::from(time.subsec_micros());
    let [a, b, c] = three_digits(micros);
    out.extend_from_slice(&[b'.', a, b, c]);
}

pub(super) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut text = [b'.'; 16];
            let mut len = 0;
            for octet in address.octets() {
                let digits = three_digits(octet.into());
                let unused = usize::from(octet < 100) + usize::from(octet < 10);
                let digits = &digits[unused..];
                text[len..len + digits.len()].copy_from_slice(digits);
                len += digits.len() + 1;
            }
            out.extend_from_slice(&text[..len - 1]);
        }
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}"); // a `Vec` takes every write
        }
    }
}

// ===== times =====

/// A time of UTC as the calendar has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: u64,
    /// From 1.
    pub(super) month: u64,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

impl Civil {
    /// A time before 1970 counts as 1970.
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Years that begin in March have their leap day at the end, and 400 of them always have the same length
        // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
        let days = days + 719_468; // from 0000-03-01
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: era * 400 + year + u64::from(month <= 2),
            month,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

/// Appends a time as RFC 3339 has it: `2026-11-20T12:42:20.123Z`.
///
/// All but the milliseconds is the same for all lines of a second, so each thread writes it once.
pub(super) fn push_timestamp(out: &mut Vec<u8>, time: SystemTime) {
    thread_local!(static SECOND: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [0; 24])) });

    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (second, mut text) = SECOND.get();
    if second != since.as_secs() {
        text = second_text(Civil::of(time));
        SECOND.set((since.as_secs(), text));
    }
    text[20..23].copy_from_slice(&three_digits(since.subsec_millis().into()));
    out.extend_from_slice(&text);
}

fn second_text(time: Civil) -> [u8; 24] {
    let Civil { year, month, day, hour, minute, second } = time;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, number) in [(0, year / 100), (2, year), (5, month), (8, day), (11, hour), (14, minute), (17, second)] {
        text[at..at + 2].copy_from_slice(&two_digits(number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(secs: u64, millis: u64) -> String {
        let mut out = Vec::new();
        push_timestamp(&mut out, UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_millis(millis));
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        assert_eq!(timestamp(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(timestamp(1_795_178_540, 123), "2026-11-20T12:42:20.123Z");
        assert_eq!(timestamp(4_107_542_399, 999), "2100-02-28T23:59:59.999Z");
        assert_eq!(timestamp(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn each_day_of_six_hundred_years_follows_the_one_before() {
        let mut before = Civil::of(UNIX_EPOCH);
        for day in 1..=600 * 365 {
            let now = Civil::of(UNIX_EPOCH + Duration::from_secs(day * 86_400));
            let leap = now.year.is_multiple_of(4) && (!now.year.is_multiple_of(100) || now.year.is_multiple_of(400));
            if now.day == 1 {
                let last = match before.month {
                    4 | 6 | 9 | 11 => 30,
                    2 => 28 + u64::from(leap),
                    _ => 31,
                };
                assert_eq!(before.day, last, "{before:?}");
                assert_eq!(now.month, before.month % 12 + 1);
                assert_eq!(now.year, before.year + u64::from(now.month == 1));
            } else {
                assert_eq!((now.year, now.month, now.day), (before.year, before.month, before.day + 1));
            }
            before = now;
        }
    }

    #[test]
    fn milliseconds_have_three_decimals() {
        for (time, expected) in [
            (Duration::ZERO, "0.000"),
            (Duration::from_nanos(1_999), "0.001"),
            (Duration::from_micros(12_345), "12.345"),
            (Duration::from_secs(61), "61000.000"),
        ] {
            let mut out = Vec::new();
            push_millis(&mut out, time);
            assert_eq!(out, expected.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_and_addresses_read_as_fmt_writes_them(number: u64, address: IpAddr) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            proptest::prop_assert_eq!(&out, &number.to_string().into_bytes());
            out.clear();
            push_address(&mut out, address);
            proptest::prop_assert_eq!(&out, &address.to_string().into_bytes());
        }
    }
}
