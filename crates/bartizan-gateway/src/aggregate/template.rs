//! The URL of a source, with places for parameters.

use crate::path::has_dot_segment;
use http::Uri;
use std::fmt::{self, Write};

/// A URL template: `http://host/users/{user}?limit=20`.
///
/// A parameter fills a place in the path or the query, percent-encoded down to the unreserved characters of RFC 3986,
/// so that nothing in it can end a segment, begin a query or name another host.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    template: String,
    /// The byte at which it stops making sense.
    at: usize,
    why: &'static str,
}

/// Why a template can't be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// The route has no such parameter: a mistake in the program.
    Missing(String),
    /// A parameter is empty, or has or makes a segment `.` or `..`, which no encoding protects where a server decodes the
    /// slash beside it: a mistake of the client.
    Unfit,
}

// ===== impl Template =====

impl Template {
    pub(crate) fn parse(template: &str) -> Result<Self, TemplateError> {
        let error = |at, why| TemplateError { template: template.to_owned(), at, why };
        let authority_at = ["http://", "https://"]
            .iter()
            .find(|scheme| template.starts_with(**scheme))
            .map(|scheme| scheme.len())
            .ok_or_else(|| error(0, "it does not begin with http:// or https://"))?;
        let path_at = template[authority_at..].find('/').map_or(template.len(), |at| authority_at + at);
        if template[authority_at..path_at].contains(['{', '}', '?']) {
            return Err(error(authority_at, "the host must be fixed and followed by a path"));
        }
        if template[authority_at..path_at].contains('@') {
            return Err(error(authority_at, "it holds a user name or password"));
        }

        let mut pieces = Vec::new();
        let mut at = 0;
        while at < template.len() {
            let rest = &template[at..];
            if let Some(inside) = rest.strip_prefix('{') {
                let end = inside.find('}').ok_or_else(|| error(at, "this '{' is never closed"))?;
                let name = &inside[..end];
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                    return Err(error(at + 1, "a parameter's name is made of letters, digits and '_'"));
                }
                pieces.push(Piece::Parameter(name.to_owned()));
                at += end + 2;
            } else {
                let end = rest.find(['{', '}', '#']).unwrap_or(rest.len());
                match rest.as_bytes().get(end) {
                    Some(b'}') => return Err(error(at + end, "this '}' closes nothing")),
                    Some(b'#') => return Err(error(at + end, "a fragment is never sent")),
                    _ => {}
                }
                pieces.push(Piece::Text(rest[..end].to_owned()));
                at += end;
            }
        }

        let template_itself = Self { pieces };
        template_itself.fill(|_| Some("x")).map_err(|_| error(0, "it is not a valid URL"))?;
        Ok(template_itself)
    }

    /// The URL with these parameters.
    pub(crate) fn fill<'a>(&self, parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Uri, Unfilled> {
        let mut url = String::with_capacity(64);
        let mut in_query = false;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    in_query |= text.contains('?');
                    url.push_str(text);
                }
                Piece::Parameter(name) => {
                    let value = parameter(name).ok_or_else(|| Unfilled::Missing(name.clone()))?;
                    if value.is_empty() && !in_query {
                        return Err(Unfilled::Unfit);
                    }
                    percent_encode(value, &mut url);
                }
            }
        }
        let path = url.split('?').next().unwrap_or_default();
        if has_dot_segment(path) {
            return Err(Unfilled::Unfit);
        }
        url.parse().map_err(|_| Unfilled::Unfit)
    }
}

fn percent_encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // a `String` takes every write
        }
    }
}

// ===== impl TemplateError =====

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the URL {:?} can't be used: {} (byte {})", self.template, self.why, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(template: &str, value: &str) -> Result<String, Unfilled> {
        Template::parse(template).expect("a template").fill(|_| Some(value)).map(|uri| uri.to_string())
    }

    #[test]
    fn a_parameter_stays_inside_its_place() {
        let users = "http://h:1/users/{user}/x";
        for (value, segment) in [
            ("u1", "u1"),
            ("..admin", "..admin"),
            ("a/b", "a%2Fb"),
            ("a?b=c", "a%3Fb%3Dc"),
            ("a#b", "a%23b"),
            ("a%2Fb", "a%252Fb"),
            ("@evil.example", "%40evil.example"),
            ("a\\b\0\r\n", "a%5Cb%00%0D%0A"),
            ("Ä ", "%C3%84%20"),
        ] {
            assert_eq!(fill(users, value).as_deref(), Ok(&*format!("http://h:1/users/{segment}/x")), "{value:?}");
        }
        assert_eq!(
            fill("http://h/o?user={u}&limit=20", "a&limit=9").unwrap(),
            "http://h/o?user=a%26limit%3D9&limit=20"
        );
    }

    #[test]
    fn what_no_encoding_protects_is_refused() {
        for value in ["", ".", "..", "../admin", "x/../../admin", r"..\admin", "a/.", "..;/admin", "..;x=1"] {
            assert_eq!(fill("http://h/users/{user}", value), Err(Unfilled::Unfit), "{value:?}");
        }
        assert_eq!(fill("http://h/{a}{a}/x", "."), Err(Unfilled::Unfit));
        assert!(
            fill("http://h/users/{user}", "%2e%2e/x").is_ok(),
            "what is encoded twice is a name with a percent sign"
        );
        assert!(fill("http://h/v.{a}", ".").is_ok());
        assert!(fill("http://h/?q={a}", "..").is_ok());
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let template = Template::parse("http://h/{a}").unwrap();
        assert_eq!(template.fill(|_| None), Err(Unfilled::Missing("a".to_owned())));
    }

    #[test]
    fn a_malformed_template_says_what_and_where() {
        for (template, at, why) in [
            ("ftp://h/", 0, "http://"),
            ("/users/{user}", 0, "http://"),
            ("http://{host}/", 7, "host must be fixed"),
            ("http://me:secret@h/", 7, "user name"),
            ("http://h/{user", 9, "never closed"),
            ("http://h/user}", 13, "closes nothing"),
            ("http://h/{}", 10, "name"),
            ("http://h/{us er}", 10, "name"),
            ("http://h/a#b", 10, "fragment"),
            ("http://h/a b", 0, "not a valid URL"),
            ("http:///a", 0, "not a valid URL"),
        ] {
            let error = Template::parse(template).expect_err(template);
            assert_eq!(error.at, at, "{error}");
            assert!(error.why.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_value_changes_the_structure_of_the_url(a in ".{0,20}", b in ".{0,20}") {
            let template = Template::parse("http://h:1/x/{a}/y/{b}?q={a}&r=1").unwrap();
            let Ok(uri) = template.fill(|name| Some(if name == "a" { &a } else { &b })) else { return Ok(()) };
            prop_assert_eq!(uri.authority().unwrap().as_str(), "h:1");
            let segments: Vec<_> = uri.path().split('/').collect();
            prop_assert_eq!(segments.len(), 5);
            prop_assert_eq!((segments[1], segments[3]), ("x", "y"));
            let query: Vec<_> = uri.query().unwrap().split('&').collect();
            prop_assert_eq!(query.len(), 2);
            prop_assert_eq!(query[1], "r=1");
        }
    }
}
