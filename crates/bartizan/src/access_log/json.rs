//! A line as one JSON object.

use super::{
    format::{push_address, push_millis, push_number, push_timestamp},
    line::{Line, Value, push_flags},
};
use crate::shared::for_each_json_piece;

/// Appends a line; in camel case or else in snake case.
pub(super) fn write_json<const CAMEL: bool>(line: &Line<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"ts":""#);
    push_timestamp(out, line.at);
    out.push(b'"');
    // Inlined, each field becomes a few stores of its own, with its name as a constant: half of the cost of a line.
    line.each(
        #[inline(always)]
        |field, value| {
            out.extend_from_slice(field.json_key(CAMEL).as_bytes());
            match value {
                Value::Text(text) => quoted(out, |out| {
                    for_each_json_piece(text, |piece| out.extend_from_slice(piece.as_bytes()));
                }),
                Value::Plain(text) => quoted(out, |out| out.extend_from_slice(text.as_bytes())),
                Value::Number(number) => push_number(out, number),
                Value::Millis(time) => push_millis(out, time),
                Value::Address(address) => quoted(out, |out| push_address(out, address)),
                Value::Flags(flags) => {
                    quoted(out, |out| push_flags(flags, |piece| out.extend_from_slice(piece.as_bytes())));
                }
            }
        },
    );
    out.push(b'}');
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}
