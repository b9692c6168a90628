//! What the formats share: a line's form, and how numbers and times are written.

use super::{
    combined::write_combined,
    json::write_json,
    line::{Line, Names},
    text::write_text,
};
use crate::shared::{for_each_json_piece, is_plain, wall_now};
use std::{
    cell::Cell,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

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

// ===== text =====

/// Appends what a JSON string of this text holds between its quotes. What is not UTF-8 becomes `U+FFFD`.
pub(super) fn push_json_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) { out.extend_from_slice(text) } else { push_escaped(out, text) }
}

// Kept out of the way, so that what is usual stays small.
#[cold]
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for_each_json_piece(&String::from_utf8_lossy(text), |piece| out.extend_from_slice(piece.as_bytes()));
}

// ===== numbers =====

/// Appends a number, without the detour of `fmt`, which costs several times as much.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number < 1000 {
        let (digits, len) = small(number);
        return push_start(out, &digits, len);
    }
    push_large(out, number);
}

#[cold]
fn push_large(out: &mut Vec<u8>, number: u64) {
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
pub(super) fn three_digits(number: u64) -> [u8; 3] {
    let [a, b, c, _] = digits(number);
    [a, b, c]
}

/// A number below a thousand: its digits with a dot behind them, and how many digits there are.
fn small(number: u64) -> ([u8; 4], usize) {
    let unused = usize::from(number < 100) + usize::from(number < 10);
    let text = u32::from_le_bytes(digits(number)) >> (8 * unused);
    (text.to_le_bytes(), 3 - unused)
}

/// The last three digits of a number, and a dot. From a table, because a line has a dozen of them.
#[allow(clippy::cast_possible_truncation, reason = "less than a thousand")]
fn digits(number: u64) -> [u8; 4] {
    static DIGITS: [[u8; 4]; 1000] = {
        let mut digits = [[b'.'; 4]; 1000];
        let mut number = 0;
        while number < 1000 {
            let n = number as u64;
            digits[number] = [digit(n / 100), digit(n / 10), digit(n), b'.'];
            number += 1;
        }
        digits
    };
    DIGITS[(number % 1000) as usize]
}

/// Appends the first `len` bytes. All of them are copied, and the rest is cut off again: a copy of a fixed length is a
/// single move.
fn push_start<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Appends a time in milliseconds, with three decimals: `12.345`.
pub(super) fn push_millis(out: &mut Vec<u8>, time: Duration) {
    let micros = micros(time);
    let millis = micros / 1000;
    let (whole, len) = if millis < 1000 {
        small(millis)
    } else {
        push_large(out, millis);
        (*b".000", 0)
    };
    let mut text = [0; 8];
    text[..4].copy_from_slice(&whole);
    text[len + 1..len + 5].copy_from_slice(&digits(micros));
    push_start(out, &text, len + 4);
}

/// All of it in microseconds, in 64 bits, which last for half a million years.
pub(super) fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

pub(super) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mut text = [0; 16];
            let mut len = 0;
            for octet in address.octets() {
                let (digits, digits_len) = small(octet.into());
                text[len..len + 4].copy_from_slice(&digits);
                len += digits_len + 1;
            }
            push_start(out, &text, len - 1);
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

thread_local!(static SECOND: Cell<Option<(Instant, [u8; 24])>> = const { Cell::new(None) });

/// Appends the date and time of an instant that has just been read, as RFC 3339 has it: `2026-11-20T12:42:20.123Z`.
///
/// Each thread looks at the wall once a second, and counts on from there: all but the milliseconds stays the same.
pub(super) fn push_timestamp(out: &mut Vec<u8>, now: Instant) {
    if let Some((began, mut text)) = SECOND.get()
        && let Some(since) = now.checked_duration_since(began)
        && since.as_secs() == 0
    {
        text[20..23].copy_from_slice(&three_digits(since.subsec_millis().into()));
        return out.extend_from_slice(&text);
    }
    push_wall_time(out, now);
}

/// Looks at the wall.
#[cold]
fn push_wall_time(out: &mut Vec<u8>, now: Instant) {
    let time = wall_now();
    let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let mut text = second_text(Civil::of(time));
    SECOND.set(now.checked_sub(Duration::from_nanos(nanos.into())).map(|began| (began, text)));
    text[20..23].copy_from_slice(&three_digits((nanos / 1_000_000).into()));
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

    fn second(secs: u64) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(secs);
        String::from_utf8(second_text(Civil::of(time)).to_vec()).expect("ASCII")
    }

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        assert_eq!(second(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(second(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(second(1_795_178_540), "2026-11-20T12:42:20.000Z");
        assert_eq!(second(4_107_542_399), "2100-02-28T23:59:59.000Z");
        assert_eq!(second(4_107_542_400), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn within_a_second_the_milliseconds_count_on_and_then_the_wall_is_looked_at_again() {
        let text = |now: Instant| {
            let mut out = Vec::new();
            push_timestamp(&mut out, now);
            String::from_utf8(out).expect("ASCII")
        };
        let millis = |text: &str| text[20..23].parse::<u64>().expect("digits");
        let now = Instant::now();
        let first = text(now);
        for later in [0, 1, 17, 999, 1000, 5000] {
            let later_text = text(now + Duration::from_millis(later));
            if millis(&first) + later < 1000 {
                assert_eq!((&later_text[..20], millis(&later_text)), (&first[..20], millis(&first) + later));
            }
            assert!(later_text >= first, "{later_text} after {first}");
        }
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
