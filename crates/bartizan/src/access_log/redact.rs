//! What must not be written down: the values of query parameters that let somebody in.

/// The names of query parameters whose values are hidden.
#[derive(Clone, Debug)]
pub(super) struct Redact {
    /// In lower case. A name that ends with `*` stands for all that begin like it.
    names: Vec<String>,
    /// With which letters they begin. Most parameters are told from all of them by that.
    initials: u32,
}

const REDACTED: &str = "REDACTED";

/// The first five are what OpenTelemetry asks for in `url.query`.
const DEFAULT: [&str; 25] = [
    "sig",
    "signature",
    "awsaccesskeyid",
    "x-amz-*",
    "x-goog-*",
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "assertion",
    "auth",
    "authorization",
    "client_secret",
    "code",
    "credentials",
    "id_token",
    "jwt",
    "pass",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "session",
    "sessionid",
    "token",
];

/// A longer name is not read, and its value is hidden unseen.
const LONGEST: usize = 64;

// ===== impl Redact =====

impl Redact {
    pub(super) fn new() -> Self {
        let mut redact = Self { names: Vec::new(), initials: 0 };
        DEFAULT.iter().for_each(|name| redact.add(name));
        redact
    }

    pub(super) fn add(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.initials |= name.bytes().next().map_or(0, initial);
        self.names.push(name);
    }

    /// Appends a query, with `REDACTED` in place of each value that is to be hidden.
    pub(super) fn query(&self, query: &str, out: &mut String) {
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
        let Some((path, query)) = url.split_once('?') else {
            out.push_str(url);
            return;
        };
        out.push_str(path);
        out.push('?');
        self.query(query, out);
    }

    /// Whether the value under this name is hidden. The name is read as a server reads it: with its escapes decoded, and
    /// in `user[password]` or `user.password` each part counts.
    fn hides(&self, name: &[u8]) -> bool {
        let may_begin_inside = |&b: &u8| matches!(b, b'%' | b'[' | b']' | b'.');
        if name.first().is_none_or(|&first| self.initials & initial(first) == 0) && !name.iter().any(may_begin_inside) {
            return false;
        }
        let mut decoded = [0; LONGEST];
        let mut len = 0;
        for byte in percent_decoded(name) {
            let Some(room) = decoded.get_mut(len) else { return true };
            *room = byte.to_ascii_lowercase();
            len += 1;
        }
        let name = &decoded[..len];
        self.lists(name) || name.split(|b| b"[].".contains(b)).any(|part| self.lists(part))
    }

    fn lists(&self, name: &[u8]) -> bool {
        self.names.iter().map(String::as_bytes).any(|listed| match listed.strip_suffix(b"*") {
            Some(start) => name.starts_with(start),
            None => name == listed,
        })
    }
}

/// A bit for each letter, and a common one for some other bytes.
const fn initial(byte: u8) -> u32 {
    1 << (byte & 31)
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
            ("my-own=1&my-own-too=2", "my-own=REDACTED&my-own-too=2"),
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
    }

    proptest::proptest! {
        #[test]
        fn a_secret_never_shows(before in "[a-z=&;%\\[\\]]{0,20}", secret in "[0-9]{6}", after in "(&[a-z=&]{0,20})?") {
            let out = redacted(&format!("{before}&token={secret}{after}"));
            proptest::prop_assert!(!out.contains(&secret), "{out}");
        }
    }
}
