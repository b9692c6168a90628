//! A line in Apache's *combined* log format.
//!
//! `client - user [day/Mon/year:time +0000] "METHOD target PROTOCOL" status bytes "referer" "user agent"`

use super::{
    format::{Civil, push_address, push_number, three_digits, two_digits},
    line::{Line, known},
};
use crate::shared::wall_now;

pub(super) fn write_combined(line: &Line<'_>, out: &mut Vec<u8>) {
    let record = line.record;
    match record.client {
        Some(client) => push_address(out, client),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - ");
    push_word(out, line.user);
    out.extend_from_slice(b" [");
    push_date(out, Civil::of(wall_now()));
    out.extend_from_slice(b"] \"");
    out.extend_from_slice(record.method.as_str().as_bytes());
    out.push(b' ');
    push_escaped(out, record.path.as_bytes());
    if let Some(query) = known(&record.query) {
        out.push(b'?');
        push_escaped(out, query.as_bytes());
    }
    out.push(b' ');
    out.extend_from_slice(line.protocol().as_bytes());
    out.extend_from_slice(b"\" ");
    out.extend_from_slice(&three_digits(line.status().into()));
    out.push(b' ');
    match record.bytes_out {
        0 => out.push(b'-'),
        bytes => push_number(out, bytes),
    }
    for field in [record.referer.as_bytes(), &record.user_agent] {
        out.extend_from_slice(b" \"");
        push_escaped(out, if field.is_empty() { b"-" } else { field });
        out.push(b'"');
    }
}

/// `20/Nov/2026:12:42:20 +0000`
fn push_date(out: &mut Vec<u8>, date: Civil) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    out.extend_from_slice(&two_digits(date.day));
    out.push(b'/');
    let month = usize::try_from(date.month).ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    out.extend_from_slice(month.copied().unwrap_or_default().as_bytes());
    out.push(b'/');
    for number in [date.year / 100, date.year] {
        out.extend_from_slice(&two_digits(number));
    }
    for number in [date.hour, date.minute, date.second] {
        out.push(b':');
        out.extend_from_slice(&two_digits(number));
    }
    out.extend_from_slice(b" +0000");
}

/// What stands between quotes: everything but printable ASCII as `\xhh`, as Apache writes it.
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            byte => push_hex(out, byte),
        }
    }
}

/// What stands without quotes, so that neither a space nor a quote may be in it.
fn push_word(out: &mut Vec<u8>, word: Option<&str>) {
    for byte in word.and_then(known).unwrap_or("-").bytes() {
        match byte {
            b'"' | b'\\' | b'[' | b']' => push_hex(out, byte),
            byte if byte.is_ascii_graphic() => out.push(byte),
            byte => push_hex(out, byte),
        }
    }
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
}
