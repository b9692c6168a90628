//! JSON strings, written straight into a buffer.

/// Appends `text` as a JSON string, quotes included.
///
/// Besides what RFC 8259 §7 asks for, everything that could fool a terminal or a reader of logs is escaped: DEL, the C1
/// controls, and Unicode's line separators, bidirectional marks and byte order mark.
pub(crate) fn write_json_str(out: &mut String, text: &str) {
    out.push('"');
    for_each_json_piece(text, |piece| out.push_str(piece));
    out.push('"');
}

/// Tells what a JSON string holds between its quotes, piece by piece.
pub(crate) fn for_each_json_piece(text: &str, mut tell: impl FnMut(&str)) {
    if is_plain(text.as_bytes()) {
        return tell(text);
    }
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let mut digits = *b"\\u0000";
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            c if is_deceptive(c) => {
                // Every deceptive character is in the basic plane, so four digits hold it.
                for (digit, shift) in digits[2..].iter_mut().zip([12, 8, 4, 0]) {
                    *digit = b"0123456789abcdef"[(u32::from(c) >> shift) as usize & 0xf];
                }
                std::str::from_utf8(&digits).unwrap_or_default() // digits are ASCII
            }
            _ => continue,
        };
        tell(&text[plain..at]);
        tell(escaped);
        plain = at + c.len_utf8();
    }
    tell(&text[plain..]);
}

/// Whether all of it stands for itself in a JSON string: printable ASCII but the quote and the backslash. Most text is.
///
/// Blocks are looked at without a branch in between, which compilers turn into a few wide instructions. The last block
/// overlaps the one before.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        return bytes.as_chunks::<16>().0.iter().all(is_plain_block) && is_plain_block(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return is_plain_block(first) && is_plain_block(last);
    }
    bytes.iter().all(|&b| is_plain_byte(b))
}

fn is_plain_block<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(true, |plain, &b| plain & is_plain_byte(b))
}

fn is_plain_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Whether a character could fool a terminal or a reader of logs: controls, marks and overrides of direction,
/// zero-width characters, line and paragraph separators, the byte order mark.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::write_json_str;

    fn json(text: &str) -> String {
        let mut out = String::new();
        write_json_str(&mut out, text);
        out
    }

    #[test]
    fn quotes_backslashes_and_controls_are_escaped() {
        assert_eq!(json("a\"b\\c\n\r\t\u{0}\u{1b}[31m\u{7f}"), r#""a\"b\\c\n\r\t\u0000\u001b[31m\u007f""#);
    }

    #[test]
    fn marks_that_turn_the_reading_direction_are_escaped_and_letters_are_not() {
        assert_eq!(json("\u{202e}gpj.exe \u{2066}é漢\u{85}"), r#""\u202egpj.exe \u2066é漢\u0085""#);
    }

    proptest::proptest! {
        #[test]
        fn text_is_plain_if_each_byte_is(text in "[ -~]{0,40}[ -~\"\\\\é]?[ -~]{0,40}") {
            let expected = text.bytes().all(super::is_plain_byte);
            proptest::prop_assert_eq!(super::is_plain(text.as_bytes()), expected);
        }

        #[test]
        fn every_string_reads_back_as_itself(text in ".*") {
            let back: String = serde_json::from_str(&json(&text)).expect("valid JSON");
            proptest::prop_assert_eq!(back, text);
        }
    }
}
