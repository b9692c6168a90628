//! JSON strings, written straight into a buffer.

/// Appends `text` as a JSON string, quotes included.
///
/// Besides what RFC 8259 §7 asks for, everything that could fool a terminal or a reader of logs is escaped: DEL, the C1
/// controls, and Unicode's line separators, bidirectional marks and byte order mark.
pub(crate) fn write_json_str(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if !needs_escape(c) {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + c.len_utf8();
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Every character that needs this is in the basic plane, so four digits hold it.
            c => {
                out.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = (u32::from(c) >> shift) & 0xf;
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn needs_escape(c: char) -> bool {
    match c {
        '"' | '\\' => true,
        ' '..='~' => false,
        c if c.is_control() => true,
        // Marks and overrides of direction, zero-width characters, line and paragraph separators, byte order mark.
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        _ => false,
    }
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
        fn every_string_reads_back_as_itself(text in ".*") {
            let back: String = serde_json::from_str(&json(&text)).expect("valid JSON");
            proptest::prop_assert_eq!(back, text);
        }
    }
}
