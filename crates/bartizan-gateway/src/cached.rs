//! What the cache in front of a service says of an answer.

use bartizan::{Flag, Notes};
use http::{Extensions, HeaderMap, HeaderValue, header};
use sfv::{BareItem, ListEntry, Parser};

/// How an answer was come by, if there is a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    Hit,
    /// It was stored, and stale.
    Stale,
    /// It was stored, and the service said that it still holds.
    Revalidated,
    /// It was the answer to another request, which was on its way already.
    Collapsed,
    Miss,
    /// The cache had no part in it.
    Bypass,
}

// ===== impl Cached =====

impl Cached {
    /// RFC 9211 §2: what the last cache on the way says in `Cache-Status`, which is the one that is nearest to us.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<_> = headers.get_all(header::CACHE_STATUS).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return None;
        }
        let list = Parser::new(&lines.join(&b", "[..])).parse::<sfv::List>().ok()?;
        let Some(ListEntry::Item(item)) = list.last() else { return None };
        let has = |name: &str| item.params.get(name).and_then(BareItem::as_boolean) == Some(true);
        let number = |name: &str| item.params.get(name).and_then(BareItem::as_integer).map(i64::from);
        let is_stale = number("ttl").is_some_and(|ttl| ttl < 0);
        let forwarded = item.params.get("fwd").and_then(BareItem::as_token).map(sfv::TokenRef::as_str);
        Some(match forwarded {
            _ if has("hit") && is_stale => Self::Stale,
            _ if has("hit") => Self::Hit,
            None => return None,
            Some(_) if has("collapsed") => Self::Collapsed,
            Some(_) if number("fwd-status") == Some(304) => Self::Revalidated,
            // What was fetched is not stale; so the service has failed.
            Some(_) if is_stale && !has("stored") => Self::Stale,
            Some("bypass" | "method") => Self::Bypass,
            Some(_) => Self::Miss,
        })
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Collapsed => "collapsed",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }

    /// Leaves word of a stale answer for the access log.
    pub(crate) fn note(self, extensions: &Extensions) {
        if self == Self::Stale
            && let Some(notes) = Notes::of(extensions)
        {
            notes.flag(Flag::StaleServed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<&'static str> {
        let lines = lines.iter().map(|line| (header::CACHE_STATUS, HeaderValue::from_static(line)));
        Cached::of(&lines.collect()).map(Cached::as_str)
    }

    #[test]
    fn each_answer_has_its_word() {
        for (line, word) in [
            ("bartizan; hit; ttl=4", "hit"),
            ("bartizan; hit; ttl=0", "hit"),
            ("bartizan; hit; ttl=-3", "stale"),
            ("bartizan; fwd=stale; ttl=-40; detail=breaker-open", "stale"),
            ("bartizan; fwd=stale; fwd-status=503; ttl=-40", "stale"),
            ("bartizan; fwd=stale; fwd-status=304; ttl=5", "revalidated"),
            ("bartizan; fwd=uri-miss; collapsed; ttl=5", "collapsed"),
            ("bartizan; fwd=uri-miss; stored; ttl=5", "miss"),
            ("bartizan; fwd=stale; stored; ttl=5", "miss"),
            ("bartizan; fwd=uri-miss; stored; ttl=-1", "miss"),
            ("bartizan; fwd=uri-miss; detail=no-freshness", "miss"),
            ("bartizan; fwd=bypass; detail=no-key", "bypass"),
            ("bartizan; fwd=method", "bypass"),
        ] {
            assert_eq!(of(&[line]), Some(word), "{line}");
        }
    }

    #[test]
    fn the_nearest_cache_counts_and_nonsense_says_nothing() {
        assert_eq!(of(&["far; fwd=uri-miss", "near; hit"]), Some("hit"));
        assert_eq!(of(&["far; hit, \"near, too\"; fwd=vary-miss"]), Some("miss"));
        for nonsense in [&[][..], &["bartizan"], &["bartizan; hit=?0"], &["(a b); hit"], &["b; hit; ttl="]] {
            assert_eq!(of(nonsense), None, "{nonsense:?}");
        }
    }
}
