//! What is asked for.

use http::{Uri, uri::InvalidUri};
use std::{fmt, net::SocketAddr, ops::RangeInclusive};

/// A path, the same each time; or with a number that is another one each time: `/users/u{1-999}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    addr: SocketAddr,
    said: String,
    numbered: Option<Numbered>,
}

#[derive(Clone, Debug, PartialEq)]
struct Numbered {
    before: String,
    numbers: RangeInclusive<u32>,
    after: String,
}

// ===== impl Path =====

impl Path {
    /// # Errors
    /// If it is none.
    pub(super) fn new(addr: SocketAddr, said: &str) -> Result<Self, String> {
        let numbered = Numbered::new(said)
            .ok_or_else(|| format!("what stands in braces is a range, once, as in u{{1-999}}, unlike {said:?}"))?;
        let path = Self { addr, said: said.to_owned(), numbered };
        // No number is longer than the last one.
        let longest = path.numbered.as_ref().map_or(0, |numbered| (*numbered.numbers.end()).into());
        match said.starts_with('/') && path.with(longest).is_ok() {
            true => Ok(path),
            false => Err(format!("a path begins with / and has no spaces, unlike {said:?}")),
        }
    }

    /// The nth time that it is asked for, counted from 0. After the last number comes the first.
    pub(super) fn nth(&self, nth: u64) -> Uri {
        let number = self.numbered.as_ref().map_or(0, |Numbered { numbers, .. }| {
            let (first, last) = (u64::from(*numbers.start()), u64::from(*numbers.end()));
            first + nth % (last - first + 1)
        });
        self.with(number).expect("it is a URI with a longer number")
    }

    fn with(&self, number: u64) -> Result<Uri, InvalidUri> {
        let Self { addr, said, numbered } = self;
        match numbered {
            None => format!("http://{addr}{said}").parse(),
            Some(Numbered { before, after, .. }) => format!("http://{addr}{before}{number}{after}").parse(),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

// ===== impl Numbered =====

impl Numbered {
    /// `Some(None)`, if there are no braces; `None`, if there is no range in them.
    fn new(said: &str) -> Option<Option<Self>> {
        if !said.contains(['{', '}']) {
            return Some(None);
        }
        let (before, rest) = said.split_once('{')?;
        let (range, after) = rest.split_once('}')?;
        let (first, last) = range.split_once('-')?;
        let numbers: RangeInclusive<u32> = first.parse().ok()?..=last.parse().ok()?;
        let fits = !numbers.is_empty() && !before.contains('}') && !after.contains(['{', '}']);
        fits.then(|| Some(Self { before: before.to_owned(), numbers, after: after.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(said: &str) -> Result<Path, String> {
        Path::new(([127, 0, 0, 1], 8080).into(), said)
    }

    #[test]
    fn a_number_in_braces_is_another_one_each_time() {
        let users = path("/users/u{8-10}?full").unwrap();
        let asked: Vec<_> = (0..4).map(|nth| users.nth(nth).to_string()).collect();
        let with = |number: u64| format!("http://127.0.0.1:8080/users/u{number}?full");
        assert_eq!(asked, [8, 9, 10, 8].map(with));
        assert_eq!(users.to_string(), "/users/u{8-10}?full");
        assert_eq!(path("/livez").unwrap().nth(7).path(), "/livez");
        assert_eq!(path("/{0-4294967295}").unwrap().nth(u32::MAX.into()).path(), "/4294967295");
    }

    #[test]
    fn braces_without_a_range_are_refused() {
        for said in ["/{}", "/{1}", "/{1-}", "/{2-1}", "/{1-2", "/1-2}", "/}{1-2}", "/{a-b}", "/{1-2}{1-2}", "/{-1-2}"]
        {
            assert!(path(said).is_err_and(|error| error.contains("is a range")), "{said}");
        }
        assert!(path("{1-2}").is_err_and(|error| error.contains("begins with /")));
    }
}
