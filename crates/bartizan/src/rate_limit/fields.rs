//! The fields that tell a client how it stands.

use super::{
    policy::{Plan, Policy},
    rules::Due,
};
use crate::shared::{Refusal, wall_now};
use bartizan_store::{Algorithm, Quota, Standing};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use sfv::{ListSerializer, StringRef, key_ref};
use std::time::{Duration, SystemTime};

/// Which fields to send, and with which responses.
///
/// By default those of [draft-ietf-httpapi-ratelimit-headers-11] with refusals only.
///
/// [draft-ietf-httpapi-ratelimit-headers-11]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fields {
    dialect: Dialect,
    when: When,
}

/// With which admitted responses the fields go. With refusals they always go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// With all.
    Always,
    /// With none.
    Refused,
    /// With those that leave less than this share of the burst, from 0 to 1.
    Below(f32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Draft11,
    Draft03,
    Delta,
    Epoch,
    None,
}

/// What a response tells, ready to be written into its head.
#[derive(Debug)]
pub(super) enum Told {
    Draft11 { policy: Option<HeaderValue>, limit: Option<HeaderValue> },
    Numbers { names: &'static [HeaderName; 3], values: [u64; 3] },
}

/// What never changes in the fields of draft 11, rendered once.
#[derive(Debug)]
pub(super) struct Members {
    /// `RateLimit-Policy`, if no policy's quota depends on the key.
    policy_field: Option<HeaderValue>,
    /// How the member of each policy begins: with its name, quoted.
    names: Box<[String]>,
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static DRAFT_03: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
static X_RATELIMIT: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

// ===== impl Fields =====

impl Fields {
    /// `RateLimit` and `RateLimit-Policy` as structured fields (draft 11), one member for each policy.
    ///
    /// `q` and `w` are the quota and its period; for a burst above the quota, the burst and the time that replenishes
    /// it. `r` is what is left now. `t` is the time for which `r` has to last: whoever sends no more than `r` in `t`
    /// seconds is not refused, and the pace that the two suggest is never above the quota's own. For a policy that has
    /// just refused a request, `t` is the time until that request may pass.
    #[must_use]
    pub const fn draft() -> Self {
        Self { dialect: Dialect::Draft11, when: When::Refused }
    }

    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds), as draft 3 had them, for the policy
    /// of which least is left, and the time until it is full again; with a refusal for the one that has the request wait
    /// for longest, and with the time that `Retry-After` tells. So it is with the other two that name three fields.
    #[must_use]
    pub const fn draft_03() -> Self {
        Self { dialect: Dialect::Draft03, when: When::Refused }
    }

    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the reset in seconds from now.
    #[must_use]
    pub const fn x_delta() -> Self {
        Self { dialect: Dialect::Delta, when: When::Refused }
    }

    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the reset in seconds since 1970, as GitHub sends them.
    #[must_use]
    pub const fn x_epoch() -> Self {
        Self { dialect: Dialect::Epoch, when: When::Refused }
    }

    /// No fields but `Retry-After`.
    #[must_use]
    pub const fn none() -> Self {
        Self { dialect: Dialect::None, when: When::Refused }
    }

    /// With which admitted responses they go.
    #[must_use]
    pub const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Whether any admitted response may carry them.
    pub(super) fn go_with_admitted(&self) -> bool {
        self.dialect != Dialect::None && self.when != When::Refused
    }

    /// Whether refusals carry them.
    #[inline]
    pub(super) fn go_with_refused(&self) -> bool {
        self.dialect != Dialect::None
    }

    /// Whether this admitted response carries them.
    pub(super) fn wanted(&self, dues: &[Due], standings: &[Standing]) -> bool {
        self.go_with_admitted()
            && match self.when {
                When::Always => true,
                When::Refused => false,
                When::Below(share) => dues.iter().zip(standings).any(|(due, standing)| {
                    f64::from(standing.available()) < f64::from(share) * f64::from(due.quota.burst_size())
                }),
            }
    }

    /// What to tell; with a refusal, when to come back.
    pub(super) fn tell(
        &self,
        policies: &[Policy],
        members: &Members,
        dues: &[Due],
        standings: &[Standing],
        retry_after: Option<u64>,
    ) -> Option<Told> {
        let told = dues.iter().zip(standings).filter(|(due, _)| !policies[due.policy].quiet);
        let names = match self.dialect {
            Dialect::None => return None,
            Dialect::Draft11 => {
                let constant = members.policy_field.clone().filter(|_| dues.len() == policies.len());
                let named = told.clone().map(|(due, _)| (policies[due.policy].name.as_str(), &due.quota));
                let policy = constant.or_else(|| policy_field(named));
                let quoted = told.map(|(due, standing)| (members.names[due.policy].as_str(), &due.quota, standing));
                let limit = limit_field(quoted);
                return Some(Told::Draft11 { policy, limit });
            }
            Dialect::Draft03 => &DRAFT_03,
            Dialect::Delta | Dialect::Epoch => &X_RATELIMIT,
        };
        let refusing =
            told.clone().filter(|(_, standing)| !standing.admits()).max_by_key(|(_, standing)| standing.wait());
        let ((due, standing), retry_after) = match refusing {
            Some(longest) => (longest, retry_after),
            None => (told.min_by_key(|(_, standing)| standing.available())?, None),
        };
        let mut reset = retry_after.unwrap_or_else(|| whole_seconds(standing.full_in()));
        if self.dialect == Dialect::Epoch {
            // Rounded up as well, or who obeys it would come too early by what is cut off.
            reset += wall_now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, whole_seconds);
        }
        let values = [u64::from(advertised(&due.quota).0), standing.available().into(), reset];
        Some(Told::Numbers { names, values })
    }
}

impl Told {
    /// Adds the fields to an answer from further in. Of numbers, those of a refusal stay, as its client has to come back when
    /// that one lets it pass.
    pub(super) fn join<B>(self, response: &mut Response<B>) {
        if let Self::Numbers { names, .. } = &self
            && response.extensions().get::<Refusal>().is_some()
            && response.headers().contains_key(&names[1])
        {
            return;
        }
        self.write(response.headers_mut());
    }

    /// Adds the fields to those that a limiter further in, or the service, has sent already: those of draft 11 are
    /// lists; of numbers the tighter stand.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        match self {
            Self::Draft11 { policy, limit } => {
                if let Some(policy) = policy {
                    headers.append(RATELIMIT_POLICY, policy);
                }
                if let Some(limit) = limit {
                    headers.append(RATELIMIT, limit);
                }
            }
            Self::Numbers { names, values } => {
                let told = headers.get(&names[1]).and_then(|left| left.to_str().ok()?.parse().ok());
                if told.is_some_and(|left: u64| left <= values[1]) {
                    return;
                }
                for (name, value) in names.iter().zip(values) {
                    headers.insert(name, HeaderValue::from(value));
                }
            }
        }
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::draft()
    }
}

// ===== impl Members =====

impl Members {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let is_constant = policies.iter().all(|policy| matches!(policy.plan, Plan::Fixed));
        let told = policies.iter().filter(|policy| !policy.quiet).map(|policy| (policy.name.as_str(), &policy.quota));
        let names = policies.iter().map(|policy| quoted(policy.name.as_str()).unwrap_or_default());
        Self { policy_field: is_constant.then(|| policy_field(told)).flatten(), names: names.collect() }
    }
}

fn quoted(name: &str) -> Option<String> {
    let mut list = ListSerializer::new();
    let _ = list.bare_item(StringRef::from_str(name).ok()?);
    list.finish()
}

fn policy_field<'a>(policies: impl Iterator<Item = (&'a str, &'a Quota)>) -> Option<HeaderValue> {
    let mut list = ListSerializer::new();
    for (name, quota) in policies {
        let (q, w) = advertised(quota);
        let _ = list
            .bare_item(StringRef::from_str(name).ok()?)
            .parameter(key_ref("q"), sfv::Integer::from(q))
            .parameter(key_ref("w"), sfv::Integer::from(w));
    }
    HeaderValue::try_from(list.finish()?).ok()
}

/// What `sfv` would write, without its detours: this field is another one each time. With no room to spare, as a
/// value that is made of such a string takes another allocation.
fn limit_field<'a>(limits: impl Iterator<Item = (&'a str, &'a Quota, &'a Standing)>) -> Option<HeaderValue> {
    let mut field = String::new();
    for (quoted, quota, standing) in limits {
        let (mut left, mut window) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (left, window) = (left.format(standing.available()), window.format(effective_window(quota, standing)));
        let separator = if field.is_empty() { "" } else { ", " };
        let pieces = [separator, quoted, ";r=", left, ";t=", window];
        field.reserve_exact(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| field.push_str(piece));
    }
    if field.is_empty() { None } else { HeaderValue::try_from(field).ok() }
}

/// The quota and its window in seconds, as a policy tells them: never more than is granted, `r` never above `q`.
fn advertised(quota: &Quota) -> (u32, u32) {
    let interval = quota.interval().as_nanos().max(1);
    let granted = u128::from(quota.burst_size());
    let window = if quota.algorithm() == Algorithm::Gcra && quota.burst_size() > quota.limit() {
        interval * granted
    } else {
        quota.period().as_nanos()
    };
    let seconds = window.div_ceil(1_000_000_000).max(1);
    let whole = window == seconds * 1_000_000_000;
    let amount = if whole && window == quota.period().as_nanos() {
        u128::from(quota.limit())
    } else {
        (seconds * 1_000_000_000 / interval).max(granted)
    };
    (u32::try_from(amount).unwrap_or(u32::MAX), u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// The seconds for which what is left has to last.
fn effective_window(quota: &Quota, standing: &Standing) -> u32 {
    let window = match standing.available() {
        _ if !standing.admits() => standing.wait(),
        0 => standing.next_in(),
        left => standing.full_in().max(quota.interval().saturating_mul(left)),
    };
    u32::try_from(whole_seconds(window)).unwrap_or(u32::MAX)
}

/// Whole seconds, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_store::Stamp;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_limit_field_is_what_sfv_writes(
            policies in prop::collection::vec(("[ -~]{1,12}", any::<u32>(), 0..100_000_000_000_u64), 0..4),
        ) {
            let quota = Quota::per_minute(100);
            let told: Vec<_> = policies.iter().map(|(name, left, full_in)| {
                let full_in = Duration::from_nanos(*full_in);
                let standing = Standing::new(Duration::ZERO, *left, Duration::ZERO, full_in, Stamp::default());
                (name.as_str(), quoted(name).expect("printable"), standing)
            }).collect();
            let ours = limit_field(told.iter().map(|(_, quoted, standing)| (quoted.as_str(), &quota, standing)));
            let mut theirs = ListSerializer::new();
            for (name, _, standing) in &told {
                let _ = theirs
                    .bare_item(StringRef::from_str(name).expect("printable"))
                    .parameter(key_ref("r"), sfv::Integer::from(standing.available()))
                    .parameter(key_ref("t"), sfv::Integer::from(effective_window(&quota, standing)));
            }
            let theirs = theirs.finish().map(|field| HeaderValue::try_from(field).expect("a field"));
            prop_assert_eq!(ours, theirs);
        }
    }
}
