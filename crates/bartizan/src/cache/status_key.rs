//! The `key` of `Cache-Status` (RFC 9211 §2.7).

use super::{key::CacheKey, rules::Rules};
use http::{
    HeaderValue, Response,
    header::{CACHE_STATUS, Entry},
};

/// Who reads a string need not be able to read a longer one (RFC 9651 §3.3.3).
const LONGEST: usize = 1024;

// ===== impl Rules =====

impl Rules {
    /// Adds the key to what this cache has said of a response, if it is to.
    #[inline]
    pub(super) fn tell_key<R>(&self, response: &mut Response<R>, key: &CacheKey) {
        if self.tells_key
            && let Some(name) = &self.name
        {
            add(response, name, key);
        }
    }
}

/// What this cache says comes last.
#[cold]
fn add<R>(response: &mut Response<R>, name: &str, key: &CacheKey) {
    let Entry::Occupied(mut lines) = response.headers_mut().entry(CACHE_STATUS) else { return };
    let ours = lines.iter_mut().last().filter(|line| line.as_bytes().starts_with(name.as_bytes()));
    if let (Some(line), Some(key)) = (ours, string(&key.to_string()))
        && let Ok(with_key) = HeaderValue::try_from([line.as_bytes(), b"; key=", key.as_bytes()].concat())
    {
        *line = with_key;
    }
}

/// A string of a structured field (RFC 9651 §4.1.6). `None` if it would be none, or is too long.
fn string(text: &str) -> Option<String> {
    let is_sayable = text.len() <= LONGEST && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_sayable.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfv::{BareItem, Item, Parser};

    #[test]
    fn a_string_is_read_as_what_was_written_or_is_not_said() {
        for text in ["", "http://a/?q=\"\\\"\\\\", "acme https://a/ x-kind=1", &"\"".repeat(LONGEST)] {
            let written = string(text).unwrap();
            let read: Item = Parser::new(written.as_bytes()).parse().unwrap();
            assert!(matches!(&read.bare_item, BareItem::String(read) if read.as_str() == text), "{read:?}");
        }
        for text in ["\n", "\u{7f}", "\u{e9}", &"a".repeat(LONGEST + 1)] {
            assert_eq!(string(text), None, "{text:?}");
        }
    }
}
