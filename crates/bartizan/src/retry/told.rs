//! What the server says about trying again.

use crate::shared::{Single, retry_after, single};
use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, KeyRef, Parser, key_ref};
use std::time::{Duration, SystemTime};

/// What the server says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing that can be understood.
    Nothing,
    /// Not before this time is over.
    After(Duration),
    /// Not at all.
    Never,
}

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const ENVOY_RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

// ===== impl Told =====

impl Told {
    /// Reads the fields of a failed answer; of several that speak, the first in this order counts: gRPC's pushback,
    /// Envoy's word that it was its own limit, `Retry-After`, `RateLimit`. `now` is asked where a date has to be
    /// compared with ours.
    pub(super) fn by(fields: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Self {
        if let Some(pushback) = pushback(fields) {
            return pushback;
        }
        if fields.contains_key(ENVOY_RATE_LIMITED) {
            return Self::Never;
        }
        retry_after(fields, now).or_else(|| effective_window(fields)).map_or(Self::Nothing, Self::After)
    }
}

/// gRPC's proposal A6: milliseconds; what is negative or no number tells not to try again.
pub(super) fn pushback(fields: &HeaderMap) -> Option<Told> {
    let millis = match single(fields, &PUSHBACK) {
        Single::Absent => return None,
        Single::One(value) => value.to_str().ok().and_then(|value| value.parse().ok()),
        Single::Several => None,
    };
    Some(millis.map_or(Told::Never, |millis: u32| Told::After(Duration::from_millis(millis.into()))))
}

/// draft-ietf-httpapi-ratelimit-headers-11: the longest `t` of the policies that have nothing left. A field that can't
/// be read is ignored, and so is one that a cache has kept (§4, positive `Age`).
fn effective_window(fields: &HeaderMap) -> Option<Duration> {
    if fields.get(header::AGE).is_some_and(|age| age.as_bytes() != b"0") {
        return None;
    }
    let mut longest = None;
    for line in fields.get_all(RATE_LIMIT) {
        let list = Parser::new(line.as_bytes()).parse::<sfv::List>().ok()?;
        for member in list {
            let sfv::ListEntry::Item(item) = member else { continue };
            let integer = |name: &KeyRef| item.params.get(name).and_then(BareItem::as_integer).map(i64::from);
            if integer(key_ref("r")) == Some(0) {
                let seconds = integer(key_ref("t")).and_then(|seconds| u64::try_from(seconds).ok());
                longest = longest.max(seconds);
            }
        }
    }
    longest.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn told(fields: &[(&'static str, &str)]) -> Told {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        Told::by(&map, || SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    fn seconds(seconds: u64) -> Told {
        Told::After(Duration::from_secs(seconds))
    }

    #[test]
    fn each_field_is_read() {
        assert_eq!(told(&[]), Told::Nothing);
        assert_eq!(told(&[("retry-after", "7")]), seconds(7));
        assert_eq!(told(&[("retry-after", " 0 ")]), seconds(0));
        assert_eq!(told(&[("retry-after", "99999999999999999999999")]), seconds(u64::MAX));
        assert_eq!(told(&[("retry-after", "soon")]), Told::Nothing);
        assert_eq!(told(&[("retry-after", "-1")]), Told::Nothing);
        assert_eq!(told(&[("retry-after", "1"), ("retry-after", "2")]), Told::Nothing);
        assert_eq!(told(&[("grpc-retry-pushback-ms", "1500")]), Told::After(Duration::from_millis(1500)));
        for never in ["-1", "", "soon", "99999999999"] {
            assert_eq!(told(&[("grpc-retry-pushback-ms", never)]), Told::Never, "{never}");
        }
        assert_eq!(told(&[("x-envoy-ratelimited", "true"), ("retry-after", "1")]), Told::Never);
    }

    #[test]
    fn a_date_is_compared_with_the_servers_own_clock() {
        let at_49_47 = ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(told(&[at_49_47]), seconds(10));
        assert_eq!(told(&[at_49_47, ("date", "Sun, 06 Nov 1994 08:49:44 GMT")]), seconds(3));
        assert_eq!(told(&[at_49_47, ("date", "yesterday")]), seconds(10));
        assert_eq!(told(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), seconds(0));
    }

    #[test]
    fn the_window_of_a_rate_limit_counts_if_nothing_is_left() {
        assert_eq!(told(&[("ratelimit", r#""default";r=0;t=30"#)]), seconds(30));
        assert_eq!(told(&[("ratelimit", r#""a";r=0;t=30, "b";r=5;t=600, "c";r=0;t=60"#)]), seconds(60));
        assert_eq!(told(&[("ratelimit", r#""a";r=0;t=3"#), ("ratelimit", r#""b";r=0;t=4"#)]), seconds(4));
        assert_eq!(told(&[("ratelimit", r#""default";r=1;t=30"#)]), Told::Nothing);
        assert_eq!(told(&[("ratelimit", r#""default";r=0"#)]), Told::Nothing);
        assert_eq!(told(&[("ratelimit", r#""default";r=0;t=-3"#)]), Told::Nothing);
        assert_eq!(told(&[("ratelimit", "limit=1, remaining=0, reset")]), Told::Nothing);
        assert_eq!(told(&[("ratelimit", r#""default";r=0;t=30"#), ("age", "4")]), Told::Nothing);
        assert_eq!(told(&[("ratelimit", r#""default";r=0;t=30"#), ("age", "0")]), seconds(30));
    }

    #[test]
    fn the_order_of_precedence_holds() {
        let all = [("ratelimit", r#""default";r=0;t=30"#), ("retry-after", "7"), ("grpc-retry-pushback-ms", "20")];
        assert_eq!(told(&all), Told::After(Duration::from_millis(20)));
        assert_eq!(told(&all[..2]), seconds(7));
        assert_eq!(told(&all[..1]), seconds(30));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(value in "[ -~]{0,60}", which in 0..4_usize) {
            told(&[(["retry-after", "ratelimit", "grpc-retry-pushback-ms", "date"][which], &value)]);
        }
    }
}
