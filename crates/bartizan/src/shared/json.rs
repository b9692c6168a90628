//! JSON strings, written straight into a buffer.

/// Appends `text` as a JSON string, quotes included.
///
/// Besides what RFC 8259 §7 asks for, everything that could fool a terminal or a reader of logs is escaped: DEL, the C1
/// controls, and Unicode's line separators and characters without a shape, such as bidirectional marks and tags.
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
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            c if is_deceptive(c) => "",
            _ => continue,
        };
        tell(&text[plain..at]);
        tell(short);
        if short.is_empty() {
            // Outside of the basic plane it takes two of them, a surrogate pair (RFC 8259 §7).
            c.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| tell(escape(&mut [0; 6], unit)));
        }
        plain = at + c.len_utf8();
    }
    tell(&text[plain..]);
}

/// A unit of UTF-16 as its escape: `\u202e`.
fn escape(text: &mut [u8; 6], unit: u16) -> &str {
    *text = *b"\\u0000";
    for (digit, shift) in text[2..].iter_mut().zip([12, 8, 4, 0]) {
        *digit = b"0123456789abcdef"[usize::from(unit >> shift & 0xf)];
    }
    std::str::from_utf8(text).unwrap_or_default() // digits are ASCII
}

/// Whether all of it stands for itself in a JSON string: printable ASCII but the quote and the backslash. Most text is.
///
/// Blocks are looked at without a branch inside, which compilers turn into a few wide instructions; the last block
/// overlaps the one before.
#[inline]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        return bytes.as_chunks::<16>().0.iter().all(is_plain_block) && is_plain_block(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return is_plain_block(first) & is_plain_block(last);
    }
    bytes.iter().all(|&byte| is_plain_byte(byte))
}

#[inline(always)]
fn is_plain_block<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(0, |odd, &byte| odd | u8::from(!is_plain_byte(byte))) == 0
}

fn is_plain_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Whether a character could fool a terminal or a reader of logs: controls, line and paragraph separators, and what is not
/// seen (Unicode's `Default_Ignorable_Code_Point`, and marks that annotate), such as overrides of direction, zero-width
/// characters, fillers, and the tags and selectors that spell text which nobody sees.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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

    #[test]
    fn what_has_no_shape_is_escaped_outside_of_the_basic_plane_too() {
        assert_eq!(json("a\u{e0041}\u{e007f}b\u{1d173}😀"), r#""a\udb40\udc41\udb40\udc7fb\ud834\udd73😀""#);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4096))]

        /// The last 4096 code points aside, which all are so.
        #[test]
        fn what_is_not_seen_is_escaped(unseen in "[\\p{Default_Ignorable_Code_Point}\\p{Bidi_Control}\\p{Cc}\\p{Zl}\\p{Zp}--[\\x{e0000}-\\x{e0fff}]]") {
            proptest::prop_assert!(json(&unseen).is_ascii(), "{unseen:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_is_plain_if_each_byte_is(text in "[ -~]{0,40}[ -~\"\\\\é]?[ -~]{0,40}") {
            let expected = text.bytes().all(super::is_plain_byte);
            proptest::prop_assert_eq!(super::is_plain(text.as_bytes()), expected);
        }

        #[test]
        fn every_string_reads_back_as_itself(text in ".*[\u{e0000}-\u{e007f}]?.*") {
            let back: String = serde_json::from_str(&json(&text)).expect("valid JSON");
            proptest::prop_assert_eq!(back, text);
        }
    }
}
