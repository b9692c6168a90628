//! Asking whether something may pass.

use crate::{Key, Quota};
use smallvec::SmallVec;
use std::{borrow::Cow, fmt, future::Future, time::Duration};

/// Where quotas are kept.
///
/// A decision over several charges is one atomic step: all of them are taken or none is, whatever their order and
/// whoever else asks at the same time.
pub trait Throttle: Send + Sync + 'static {
    /// The pending decision: ready at once for a store in memory, a box for one that is far away.
    type Deciding: Future<Output = Result<Decision, Unavailable>> + Send + Unpin;

    /// Takes all the charges, or none of them.
    fn decide(&self, charges: &[Charge<'_>]) -> Self::Deciding;

    /// Takes one charge at once, for whoever does not look at how it stands then: if it is admitted, nothing more is
    /// told, and if it has to wait, how it stands. `None` if the store does not answer at once, or not about a charge
    /// like this one: it has to be asked to [`decide`](Self::decide) then, and nothing has been taken.
    fn take(&self, charge: &Charge<'_>) -> Option<Result<(), Standing>> {
        let _ = charge;
        None
    }

    /// What [`decide`](Self::decide) would answer now. Takes nothing.
    fn peek(&self, charges: &[Charge<'_>]) -> Self::Deciding;

    /// Corrects a charge that was taken, now that its `actual` cost is known: gives back what was too much, takes what
    /// was too little even beyond the quota. `stamp` comes from the [`Standing`] of that charge.
    ///
    /// Best effort, and never waits: a store that is far away does it in the background.
    fn settle(&self, charge: &Charge<'_>, stamp: Stamp, actual: u32);
}

/// What a request would take from one quota.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The policy's name. The same key under another policy is another bucket.
    pub policy: &'a PolicyName,
    /// Whose bucket.
    pub key: &'a Key,
    /// How large the bucket is.
    pub quota: Quota,
    /// How much of it. Nothing (0) always passes.
    pub cost: u32,
}

/// The name of a policy, hashed once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName {
    name: Cow<'static, str>,
    hash: u64,
}

/// The answer to a set of charges.
#[derive(Clone, Debug)]
pub struct Decision {
    verdict: Verdict,
    standings: SmallVec<[Standing; 1]>,
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may, and has been charged.
    Admitted,
    /// Not now. Alone, it would be admitted after this time, and not a nanosecond earlier.
    Refused(Duration),
    /// Never: it costs more than a quota ever grants at once.
    TooCostly,
}

/// How one charge stands after the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub(crate) wait: u64,
    pub(crate) available: u32,
    pub(crate) next_in: u64,
    pub(crate) full_in: u64,
    pub(crate) stamp: Stamp,
}

/// When a charge was taken, in the store's own terms; for [`Throttle::settle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

/// The store did not answer. `source()` tells why.
#[derive(Debug)]
pub struct Unavailable {
    source: Box<dyn std::error::Error + Send + Sync>,
}

// ===== impl PolicyName =====

impl PolicyName {
    /// The name `name`.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        // FNV-1a. Names are written by whoever sets the policies; what strangers send is hashed with a secret.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { name, hash }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

// ===== impl Decision =====

impl Decision {
    /// A decision, with one standing for each charge in their order. For whoever writes a store.
    #[must_use]
    pub fn new(verdict: Verdict, standings: impl IntoIterator<Item = Standing>) -> Self {
        Self { verdict, standings: standings.into_iter().collect() }
    }

    /// Whether the request may pass.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether the request was admitted.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.verdict == Verdict::Admitted
    }

    /// How each charge stands now, in the order of the charges.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }
}

/// The decision about a single charge that stands like this: admitted, unless it has to wait.
impl From<Standing> for Decision {
    fn from(standing: Standing) -> Self {
        let verdict = if standing.admits() { Verdict::Admitted } else { Verdict::Refused(standing.wait()) };
        Self { verdict, standings: SmallVec::from_buf([standing]) }
    }
}

// ===== impl Standing =====

impl Standing {
    /// A standing. For whoever writes a store.
    #[must_use]
    pub fn new(wait: Duration, available: u32, next_in: Duration, full_in: Duration, stamp: Stamp) -> Self {
        Self { wait: nanos(wait), available, next_in: nanos(next_in), full_in: nanos(full_in), stamp }
    }

    /// How long this quota alone would have the request wait; zero if it would let it pass.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_nanos(self.wait)
    }

    /// Whether this quota would let the request pass.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.wait == 0
    }

    /// How much may pass now.
    #[must_use]
    pub fn available(&self) -> u32 {
        self.available
    }

    /// The time until anything may pass; zero if something may pass now.
    #[must_use]
    pub fn next_in(&self) -> Duration {
        Duration::from_nanos(self.next_in)
    }

    /// The time until all of the quota is there again.
    #[must_use]
    pub fn full_in(&self) -> Duration {
        Duration::from_nanos(self.full_in)
    }

    /// When the charge was taken.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }
}

// ===== impl Stamp =====

impl Stamp {
    /// A stamp. For whoever writes a store.
    #[must_use]
    pub fn new(stamp: u64) -> Self {
        Self(stamp)
    }

    /// What the store stamped.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

// ===== impl Unavailable =====

impl Unavailable {
    /// The store did not answer, because of `source`.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store is unavailable")
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
