//! A line as `key=value` pairs (logfmt).

use super::{
    format::{push_address, push_json_text, push_millis, push_number, push_timestamp},
    line::{Line, Value, push_flags},
};

/// Appends a line; in camel case or else in snake case.
pub(super) fn write_text<const CAMEL: bool>(line: &Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ts=");
    push_timestamp(out, line.ended_at);
    line.each(|field, value| {
        out.extend_from_slice(field.text_key(CAMEL).as_bytes());
        match value {
            Value::Text(text) | Value::Plain(text) => push_text(out, text),
            Value::Number(number) => push_number(out, number),
            Value::Millis(time) => push_millis(out, time),
            Value::Address(address) => push_address(out, address),
            Value::Flags(flags) => push_flags(flags, |piece| out.extend_from_slice(piece.as_bytes())),
        }
    });
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_bare(text) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    push_json_text(out, text);
    out.push(b'"');
}

/// Whether a value needs no quotes: it is not empty, and nothing in it could end it or pass for another pair.
fn is_bare(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
}
