use super::{
    super::date::{Dated, field as dated, parse},
    text::{digits, field, lines},
};
use http::header::DATE;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2026-11-27 and 2200-01-01. A clock beyond them is no clock.
const TODAY: u64 = 1_795_737_600;
const FAR: u64 = 7_258_118_400;
/// A year on average, as the cache counts them.
const YEAR: i64 = 31_556_952;

/// The clock in seconds, and a date: it is read as a naive reader reads it, and what is written of it is read back.
pub fn date(input: &[u8]) {
    let mut lines = lines(input);
    let clock = lines.next().and_then(digits).unwrap_or(TODAY);
    let value = lines.next().unwrap_or_default();
    let _ = parse(value, UNIX_EPOCH.checked_add(Duration::from_secs(clock)).unwrap_or(UNIX_EPOCH));
    let _ = parse(value, UNIX_EPOCH.checked_sub(Duration::from_secs(clock)).unwrap_or(UNIX_EPOCH));

    let clock = clock % FAR;
    let now = UNIX_EPOCH + Duration::from_secs(clock);
    let read = parse(value, now);
    assert_eq!(read, naive(value, clock.cast_signed()).map(at), "{}", value.escape_ascii());

    let head = field(&DATE, value);
    if !head.is_empty() {
        assert_eq!(dated(&head, &DATE, now), read.map_or(Dated::Invalid, Dated::At));
    }
    if let Some(read) = read
        && (0..253_402_300_800).contains(&seconds(read))
    {
        assert_eq!(parse(httpdate::fmt_http_date(read).as_bytes(), now), Some(read));
    }
}

fn at(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn seconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs().cast_signed(),
        Err(before) => -before.duration().as_secs().cast_signed(),
    }
}

// ===== the naive reader: words with a space between them =====

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

fn naive(value: &[u8], clock: i64) -> Option<i64> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?.to_ascii_lowercase();
    let is_short = |day: &str| DAYS.iter().any(|name| name[..3] == *day);
    match *text.split(' ').collect::<Vec<_>>() {
        [day, date, month, year, time, "gmt"] if day.strip_suffix(',').is_some_and(is_short) => {
            moment(number(year, 4)?, month, number(date, 2)?, time)
        }
        [day, date, time, "gmt"] if day.strip_suffix(',').is_some_and(|day| DAYS.contains(&day)) => {
            let [date, month, year] = *date.split('-').collect::<Vec<_>>() else { return None };
            let (date, year) = (number(date, 2)?, number(year, 2)?);
            // RFC 9110 §5.6.7: the last such year, unless that is more than fifty years ahead.
            let years = (1800..2300).filter(|candidate| candidate % 100 == year);
            years.filter_map(|year| moment(year, month, date, time)).filter(|&at| at <= clock + 50 * YEAR).max()
        }
        [day, month, "", date, time, year] if is_short(day) => moment(number(year, 4)?, month, number(date, 1)?, time),
        [day, month, date, time, year] if is_short(day) => moment(number(year, 4)?, month, number(date, 2)?, time),
        _ => None,
    }
}

fn number(text: &str, length: usize) -> Option<i64> {
    let number = digits(text.as_bytes()).filter(|_| text.len() == length)?;
    i64::try_from(number).ok()
}

fn moment(year: i64, month: &str, date: i64, time: &str) -> Option<i64> {
    let is_leap = |year: i64| year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let [hour, minute, second] = *time.split(':').collect::<Vec<_>>() else { return None };
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if date < 1 || date > lengths[month] || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let length = |year| if is_leap(year) { 366 } else { 365 };
    let years = if year < 1970 { -(year..1970).map(length).sum::<i64>() } else { (1970..year).map(length).sum() };
    let days = years + lengths[..month].iter().sum::<i64>() + date - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second.min(59))
}
