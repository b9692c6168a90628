//! The members of a list of directives, without a copy of anything.

use super::directives::LONGEST;
use smallvec::SmallVec;
use std::time::Duration;

/// What stands after a directive's `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    /// There is no `=`.
    Missing,
    Token(&'a [u8]),
    /// What is between the double quotes, with its backslashes.
    Quoted(&'a [u8]),
    /// Neither of both: empty, something after it, a quote that does not end, spaces round the `=`.
    Broken,
}

/// Each directive of one line: its name as it is written, and its argument.
///
/// A comma ends a directive, unless it stands in a quoted string (RFC 9110 §5.6.4); only double quotes quote. Empty members
/// are skipped (§5.6.1.2). If a quoted string never ends, the quotes of the rest of the line are not heeded, so that no
/// directive hides behind one.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = (&[u8], Argument<'_>)> {
    let mut rest = Some(line);
    let mut quotes = true;
    std::iter::from_fn(move || {
        loop {
            let line = rest?;
            let end = if quotes {
                comma_outside_quotes(line)
            } else {
                line.iter().position(|&byte| byte == b',').ok_or(true)
            };
            let member = match end {
                Ok(comma) => {
                    rest = line.get(comma + 1..);
                    &line[..comma]
                }
                Err(true) => {
                    rest = None;
                    line
                }
                Err(false) => {
                    quotes = false;
                    continue;
                }
            };
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(directive(member));
            }
        }
    })
}

/// Where the first comma is that ends a directive; if there is none, whether each quoted string ends.
fn comma_outside_quotes(line: &[u8]) -> Result<usize, bool> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Ok(at),
            _ => {}
        }
    }
    Err(!quoted)
}

fn directive(member: &[u8]) -> (&[u8], Argument<'_>) {
    let end = member.iter().position(|&byte| !is_tchar(byte)).unwrap_or(member.len());
    let (name, rest) = member.split_at(end);
    let argument = match rest {
        [] => Argument::Missing,
        [b'=', b'"', quoted @ .., b'"'] if is_quoted(quoted) => Argument::Quoted(quoted),
        [b'=', token @ ..] if !token.is_empty() && token.iter().all(|&byte| is_tchar(byte)) => Argument::Token(token),
        _ => Argument::Broken,
    };
    (name, argument)
}

/// Whether this may stand between two quotes: no quote ends it before, no backslash takes the last one away.
fn is_quoted(bytes: &[u8]) -> bool {
    let mut escaped = false;
    bytes.iter().all(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        !ends
    }) && !escaped
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    static IS_TCHAR: [bool; 256] = {
        let (mut is, mut byte) = ([false; 256], 0);
        while byte < 128_u8 {
            is[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
            byte += 1;
        }
        is
    };
    IS_TCHAR[usize::from(byte)]
}

// ===== impl Argument =====

impl<'a> Argument<'a> {
    /// RFC 9111 §1.2.2: digits and nothing else, at most 2³¹ seconds.
    pub(super) fn seconds(self) -> Option<Duration> {
        let digits = match self {
            Self::Token(token) => return seconds(token),
            Self::Quoted(_) => self.unescaped()?,
            Self::Missing | Self::Broken => return None,
        };
        seconds(&digits)
    }

    /// The argument as it is meant.
    pub(super) fn unescaped(self) -> Option<SmallVec<[u8; 64]>> {
        let (bytes, quoted): (&'a [u8], bool) = match self {
            Self::Token(token) => (token, false),
            Self::Quoted(quoted) => (quoted, true),
            Self::Missing | Self::Broken => return None,
        };
        let mut escaped = false;
        let meant = |&byte: &u8| {
            escaped = quoted && byte == b'\\' && !escaped;
            (!escaped).then_some(byte)
        };
        Some(bytes.iter().filter_map(meant).collect())
    }
}

/// RFC 9111 §1.2.2: digits and nothing else; what is too large counts as 2³¹.
pub(super) fn seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })?;
    Some(Duration::from_secs(number).min(LONGEST))
}
