//! What must not be written down: the values of query parameters that let somebody in.

/// The names of query parameters whose values are hidden.
#[derive(Clone, Debug)]
pub(super) struct Redact {
    /// In lower case, and without `-` and `_`, which one writes and another leaves out. One that ends with `*` stands for
    /// all that begin like it.
    names: Vec<String>,
    /// How those end that are listed by their ends.
    ends: Vec<String>,
    /// With which letters the names begin, and with which the ends end. Most parameters are told from all of them by that.
    initials: u32,
    finals: u32,
    /// And with which letters the ends end but for one.
    second_last: u32,
}

const REDACTED: &str = "REDACTED";

/// The first five cover what OpenTelemetry asks for in `url.query`.
const DEFAULT: [&str; 30] = [
    "sig",
    "*signature",
    "*accesskeyid",
    "x-amz-*",
    "x-goog-*",
    "*token",
    "*secret",
    "*password",
    "*passwd",
    "*pwd",
    "*passphrase",
    "*credential",
    "*credentials",
    "*apikey",
    "*accesskey",
    "*privatekey",
    "*secretkey",
    "*sessionid",
    "assertion",
    "auth",
    "authorization",
    "code",
    "codeverifier",
    "jwt",
    "key",
    "otp",
    "pass",
    "samlresponse",
    "session",
    "sid",
];

/// A longer name is not read, and its value is hidden unseen.
const LONGEST: usize = 64;

// ===== impl Redact =====

impl Redact {
    pub(super) fn new() -> Self {
        let mut redact = Self { names: Vec::new(), ends: Vec::new(), initials: 0, finals: 0, second_last: 0 };
        DEFAULT.iter().for_each(|name| redact.add(name));
        redact
    }

    pub(super) fn add(&mut self, name: &str) {
        let name: String = name.to_ascii_lowercase().chars().filter(|c| !matches!(c, '-' | '_')).collect();
        match name.strip_prefix('*') {
            Some(end) => {
                let mut letters = end.bytes().rev().map(letter);
                self.finals |= letters.next().unwrap_or(0);
                self.second_last |= letters.next().unwrap_or(!0);
                self.ends.push(end.to_owned());
            }
            None => {
                self.initials |= name.bytes().next().map_or(0, letter);
                self.names.push(name);
            }
        }
    }

    /// Appends a query, with `REDACTED` in place of each value that is to be hidden.
    pub(super) fn query(&self, query: &str, out: &mut String) {
        if self.is_harmless(query.as_bytes()) {
            out.push_str(query);
        } else {
            self.query_by_names(query, out);
        }
    }

    #[cold]
    fn query_by_names(&self, query: &str, out: &mut String) {
        let mut rest = query;
        while !rest.is_empty() {
            // Some servers split at `;` too. To take it for a separator hides no less.
            let end = rest.bytes().position(|b| b == b'&' || b == b';').unwrap_or(rest.len());
            let (pair, after) = rest.split_at(end);
            match pair.bytes().position(|b| b == b'=') {
                Some(equals) if self.hides(&pair.as_bytes()[..equals]) => {
                    out.push_str(&pair[..=equals]);
                    out.push_str(REDACTED);
                }
                _ => out.push_str(pair),
            }
            let (separator, after) = after.split_at(after.len().min(1));
            out.push_str(separator);
            rest = after;
        }
    }

    /// Appends a URL, such as that of a referring page, with its query redacted.
    pub(super) fn url(&self, url: &str, out: &mut String) {
        // A browser sends no fragment, and what somebody else sends there may be a token.
        let url = url.split_once('#').map_or(url, |(url, _)| url);
        let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
        out.push_str(&place[..user_in(place).start]);
        out.push_str(&place[user_in(place).end..]);
        let Some(query) = query else { return };
        out.push('?');
        self.query(query, out);
    }

    /// Whether a look at each byte tells that nothing is to be hidden, as in most queries: nothing begins or ends like a
    /// name that is listed, and nothing could have such a name inside.
    fn is_harmless(&self, query: &[u8]) -> bool {
        let may_begin = |at: usize| query.get(at).is_some_and(|&byte| self.initials & letter(byte) != 0);
        let is_final = |at: usize| query.get(at).is_some_and(|&byte| self.finals & letter(byte) != 0);
        let may_end = |at: usize| {
            at >= 2 && is_final(at - 1) && self.second_last & letter(query[at - 2]) != 0 || at == 1 && is_final(0)
        };
        let is_harmless_at = |at: usize| match query[at] {
            // Behind it a name begins.
            b'&' | b';' => !may_begin(at + 1),
            // In front of it a name ends.
            b'=' => !may_end(at),
            // It does not count, so what is next to it may be the first letter or the last.
            b'-' | b'_' => !(may_begin(at + 1) || is_final(at + 1) || at > 0 && is_final(at - 1)),
            // It stands for another byte, or a part of a name begins behind it.
            _ => false,
        };
        !may_begin(0) && (0..query.len()).all(|at| !IS_MARK[usize::from(query[at])] || is_harmless_at(at))
    }

    /// Whether the value under this name is hidden. The name is read as a server reads it: with its escapes decoded, and
    /// in `user[password]` or `user.password` each part counts.
    fn hides(&self, name: &[u8]) -> bool {
        let mut decoded = [0; LONGEST];
        let mut len = 0;
        for byte in percent_decoded(name) {
            if matches!(byte, b'-' | b'_') {
                continue;
            }
            let Some(room) = decoded.get_mut(len) else { return true };
            *room = byte.to_ascii_lowercase();
            len += 1;
        }
        let name = &decoded[..len];
        self.lists(name) || name.split(|b| b"[].".contains(b)).any(|part| self.lists(part))
    }

    fn lists(&self, name: &[u8]) -> bool {
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return false };
        let is_listed = |listed: &String| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(start.as_bytes()),
            None => name == listed.as_bytes(),
        };
        let ends_so = |end: &String| end.bytes().last() == Some(last) && name.ends_with(end.as_bytes());
        (self.initials & letter(first) != 0 && self.names.iter().any(is_listed))
            || (self.finals & letter(last) != 0 && self.ends.iter().any(ends_so))
    }
}

/// The bytes of a query that do something to the names in it, as a table: every byte of every query is looked up.
#[allow(clippy::cast_possible_truncation, reason = "bytes count up to 255")]
const IS_MARK: [bool; 256] = {
    let mut marks = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        marks[byte] = matches!(byte as u8, b'&' | b';' | b'=' | b'-' | b'_' | b'%' | b'[' | b']' | b'.');
        byte += 1;
    }
    marks
};

/// A bit for each letter, and a common one for some other bytes.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// Where the user and the password stand in a URL, with the `@` behind them.
fn user_in(url: &str) -> std::ops::Range<usize> {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let authority = &url[start..];
    let authority = &authority[..authority.find('/').unwrap_or(authority.len())];
    start..start + authority.rfind('@').map_or(0, |at| at + 1)
}

fn percent_decoded(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        let (&first, after) = rest.split_first()?;
        rest = after;
        Some(first)
    })
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(query: &str) -> String {
        let mut redact = Redact::new();
        redact.add("My-Own");
        let mut out = String::new();
        redact.query(query, &mut out);
        out
    }

    #[test]
    fn values_that_let_somebody_in_are_hidden_and_the_rest_stays_as_it_came() {
        for (given, expected) in [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("sig=abc", "sig=REDACTED"),
            ("Signature=a%2Fb=&AWSAccessKeyId=AKIA", "Signature=REDACTED&AWSAccessKeyId=REDACTED"),
            (
                "X-Amz-Security-Token=x&x-amz-date=y&X-Goog-Signature=z",
                "X-Amz-Security-Token=REDACTED&x-amz-date=REDACTED&X-Goog-Signature=REDACTED",
            ),
            (
                "page=2&token=t&code=c&password=p&api_key=k&access_token=a",
                "page=2&token=REDACTED&code=REDACTED&password=REDACTED&api_key=REDACTED&access_token=REDACTED",
            ),
            ("my-own=1&my-own-too=2&myOwn=3", "my-own=REDACTED&my-own-too=2&myOwn=REDACTED"),
            (
                "accessToken=1&refresh-token=2&x-api-key=3",
                "accessToken=REDACTED&refresh-token=REDACTED&x-api-key=REDACTED",
            ),
            (
                "clientSecret=1&new_password=2&sid=3&pwd=4",
                "clientSecret=REDACTED&new_password=REDACTED&sid=REDACTED&pwd=REDACTED",
            ),
            ("SAMLResponse=1&code_verifier=2&_key=3", "SAMLResponse=REDACTED&code_verifier=REDACTED&_key=REDACTED"),
            (
                "oauth_signature=1&access_key=2&accessKeyId=3&secret_key=4&private-key=5",
                "oauth_signature=REDACTED&access_key=REDACTED&accessKeyId=REDACTED&secret_key=REDACTED&private-key=REDACTED",
            ),
            ("monkey=1&decode=2&design=3", "monkey=1&decode=2&design=3"),
            ("%74oken=secret&tok%45n=secret", "%74oken=REDACTED&tok%45n=REDACTED"),
            (
                "user[password]=p&user%5Btoken%5D[]=t&login.code=c",
                "user[password]=REDACTED&user%5Btoken%5D[]=REDACTED&login.code=REDACTED",
            ),
            ("a=1;token=t;b", "a=1;token=REDACTED;b"),
            (&format!("{}[token]=t", "a".repeat(60)), &format!("{}[token]=REDACTED", "a".repeat(60))),
            ("token", "token"),
            ("token=", "token=REDACTED"),
            ("tokens=3&encode=utf8&%zz=1&%=2&&=", "tokens=3&encode=utf8&%zz=1&%=2&&="),
        ] {
            assert_eq!(redacted(given), expected);
        }
    }

    #[test]
    fn the_query_of_a_referring_page_is_redacted_too() {
        let mut out = String::new();
        Redact::new().url("https://a.example/p?code=1&x=2#access_token=3", &mut out);
        assert_eq!(out, "https://a.example/p?code=REDACTED&x=2");
        for (url, expected) in [
            ("https://me:secret@a.example/p@q?x=1", "https://a.example/p@q?x=1"),
            ("https://me@a.example", "https://a.example"),
            ("https://a.example/@me", "https://a.example/@me"),
        ] {
            let mut out = String::new();
            Redact::new().url(url, &mut out);
            assert_eq!(out, expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_query_that_looks_harmless_is(query in "([tokensidcrpywa_=&;-]|%6e){0,24}") {
            let redact = Redact::new();
            let mut by_names = String::new();
            redact.query_by_names(&query, &mut by_names);
            proptest::prop_assert!(!redact.is_harmless(query.as_bytes()) || by_names == query, "{query}");
        }

        #[test]
        fn a_secret_never_shows(before in "[a-z=&;%\\[\\]]{0,20}", secret in "[0-9]{6}", after in "(&[a-z=&]{0,20})?") {
            let out = redacted(&format!("{before}&token={secret}{after}"));
            proptest::prop_assert!(!out.contains(&secret), "{out}");
        }
    }
}
