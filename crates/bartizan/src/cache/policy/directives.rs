//! The directives of `Cache-Control` (RFC 9111 §5.2).

use super::members::{Argument, members};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};
use smallvec::SmallVec;
use std::time::Duration;

/// What a response says to caches, in `Cache-Control` or in a field for caches like this one (RFC 9213).
///
/// What contradicts itself is read in the way that uses the response least: of two lifetimes the shorter one holds, and one
/// that cannot be understood is zero (RFC 9111 §4.2.1 lets a cache take such a response for stale).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct ResponseDirectives {
    pub(in crate::cache) max_age: Option<Duration>,
    pub(in crate::cache) s_maxage: Option<Duration>,
    pub(in crate::cache) stale_while_revalidate: Option<Duration>,
    pub(in crate::cache) stale_if_error: Option<Duration>,
    pub(in crate::cache) no_cache: Reach,
    pub(in crate::cache) private: Reach,
    pub(in crate::cache) no_store: bool,
    pub(in crate::cache) public: bool,
    pub(in crate::cache) must_revalidate: bool,
    pub(in crate::cache) proxy_revalidate: bool,
    pub(in crate::cache) must_understand: bool,
    pub(in crate::cache) immutable: bool,
    /// Whether they come from a targeted field, which then also stands in the place of `Expires`.
    pub(in crate::cache) targeted: bool,
}

/// How much of a response `no-cache` or `private` is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) enum Reach {
    #[default]
    Nothing,
    /// Fields of these names.
    Fields(SmallVec<[HeaderName; 2]>),
    Whole,
}

/// What a request says to caches (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct RequestDirectives {
    pub(in crate::cache) max_age: Option<Duration>,
    pub(in crate::cache) min_fresh: Option<Duration>,
    /// `Duration::MAX` if any staleness will do.
    pub(in crate::cache) max_stale: Option<Duration>,
    pub(in crate::cache) stale_if_error: Option<Duration>,
    pub(in crate::cache) no_cache: bool,
    pub(in crate::cache) no_store: bool,
    pub(in crate::cache) only_if_cached: bool,
}

/// RFC 9111 §1.2.2: a number of seconds that is too large counts as 2³¹.
pub(super) const LONGEST: Duration = Duration::from_secs(1 << 31);

/// A response that limits more fields than this is limited as a whole.
const MOST_FIELDS: usize = 16;

// ===== impl ResponseDirectives =====

impl ResponseDirectives {
    /// Reads `Cache-Control`; all its lines are one list (RFC 9110 §5.3).
    pub(in crate::cache) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in members(line.as_bytes()) {
                directives.heed(name, argument);
            }
        }
        directives
    }

    /// RFC 9111 §5.2: names are compared without regard to case; both forms of an argument mean the same; directives that
    /// are not known are ignored. An argument where none belongs changes nothing (RFC 8246 §2 says so of `immutable`),
    /// except that `public` then grants nothing.
    fn heed(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("max-age") {
            shorten(&mut self.max_age, argument.seconds().unwrap_or_default());
        } else if is("s-maxage") {
            shorten(&mut self.s_maxage, argument.seconds().unwrap_or_default());
        } else if is("stale-while-revalidate") {
            shorten(&mut self.stale_while_revalidate, argument.seconds().unwrap_or_default());
        } else if is("stale-if-error") {
            shorten(&mut self.stale_if_error, argument.seconds().unwrap_or_default());
        } else if is("no-cache") {
            self.no_cache.limit(argument);
        } else if is("private") {
            self.private.limit(argument);
        } else if is("no-store") {
            self.no_store = true;
        } else if is("public") {
            self.public |= argument == Argument::Missing;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("immutable") {
            self.immutable = true;
        }
    }

    /// RFC 9111 §3.5: these let a shared cache reuse the response to a request with `Authorization`.
    pub(in crate::cache) fn share_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    /// RFC 9111 §4.2.4, §5.2.2.10: what `must-revalidate` asks of every cache, `proxy-revalidate` and `s-maxage` ask of a
    /// shared one.
    pub(in crate::cache) fn never_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

// ===== impl Reach =====

impl Reach {
    /// RFC 9111 §5.2.2.4, §5.2.2.7: an argument is a list of field names; without one, or with one that is no such list,
    /// the whole response is meant.
    fn limit(&mut self, argument: Argument<'_>) {
        let names = argument.unescaped().and_then(|names| Self::names(&names));
        match names {
            Some(names) => self.limit_fields(names),
            None => *self = Self::Whole,
        }
    }

    /// Limits some more fields, or the whole response if they are too many.
    pub(super) fn limit_fields(&mut self, names: impl IntoIterator<Item = HeaderName>) {
        if *self == Self::Nothing {
            *self = Self::Fields(SmallVec::new());
        }
        for name in names {
            match self {
                Self::Fields(fields) if fields.contains(&name) => {}
                Self::Fields(fields) if fields.len() < MOST_FIELDS => fields.push(name),
                Self::Fields(_) | Self::Nothing | Self::Whole => *self = Self::Whole,
            }
        }
    }

    /// The field names in a list, each once; `None` if it has none, or something that is none.
    pub(super) fn names(list: &[u8]) -> Option<SmallVec<[HeaderName; 2]>> {
        let mut names = SmallVec::new();
        for name in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
            let name = HeaderName::from_bytes(name).ok()?;
            // One more than can be limited says that it is the whole response. The same again says nothing.
            if names.len() <= MOST_FIELDS && !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then_some(names)
    }

    /// The fields that are limited, if it is not the whole response.
    pub(in crate::cache) fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Nothing | Self::Whole => &[],
        }
    }
}

// ===== impl RequestDirectives =====

impl RequestDirectives {
    /// Reads `Cache-Control`, or `Pragma` if there is none (RFC 9111 §5.4).
    ///
    /// What cannot be understood asks for more rather than for less: `max-age=x` for a validation, `max-stale=x` for
    /// nothing.
    pub(in crate::cache) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let mut lines = headers.get_all(CACHE_CONTROL).into_iter().peekable();
        if lines.peek().is_none() {
            directives.no_cache = headers.get_all(PRAGMA).into_iter().any(pragma_no_cache);
            return directives;
        }
        for line in lines {
            for (name, argument) in members(line.as_bytes()) {
                directives.heed(name, argument);
            }
        }
        directives
    }

    fn heed(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("max-age") {
            shorten(&mut self.max_age, argument.seconds().unwrap_or_default());
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.max(Some(argument.seconds().unwrap_or(Duration::MAX)));
        } else if is("max-stale") {
            match argument {
                Argument::Missing => shorten(&mut self.max_stale, Duration::MAX),
                argument => shorten(&mut self.max_stale, argument.seconds().unwrap_or_default()),
            }
        } else if is("stale-if-error") {
            shorten(&mut self.stale_if_error, argument.seconds().unwrap_or_default());
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        }
    }
}

fn pragma_no_cache(line: &HeaderValue) -> bool {
    members(line.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"))
}

/// Of two values the shorter one holds.
fn shorten(span: &mut Option<Duration>, other: Duration) {
    *span = Some(span.map_or(other, |span| span.min(other)));
}

#[cfg(test)]
#[path = "tests/directives.rs"]
mod tests;
