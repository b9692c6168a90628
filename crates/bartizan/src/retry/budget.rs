//! What keeps retries from becoming the greater part of the traffic.

use super::{
    backoff::nanos,
    crowd::Crowd,
    ledger::{Grant, Ledger, SLOTS},
};
use crate::shared::sync::Arc;
use std::{fmt, time::Duration};
use tokio::time::Instant;

/// How much may be sent again to one destination: a handle, to be shared by all that send there.
///
/// A service that is down fails every request, and three attempts for each are three times the traffic just when it can
/// bear least. So each request that comes back is a *deposit* of a fifth of a retry, and each retry a *withdrawal*;
/// and of what is waiting for an answer at one time, no more than a fifth is a retry. What is refused on this side, by
/// a layer of ours, counts for nothing.
///
/// One retry of each request is free of all that: the first after an error that proves that the service has not seen
/// the request. It costs the destination nothing, and is not counted in flight. And so is one that goes
/// [elsewhere](super::RetryLayer::elsewhere) than to the place that has refused it.
///
/// One budget for each destination, or one that is down takes the retries of all. Its clones are the same budget.
///
/// ```
/// use bartizan::retry::{Budget, RetryLayer, RetryPolicy};
///
/// let users = Budget::new().share(0.1);
/// let reads = RetryLayer::new(RetryPolicy::attempts(3)).budget(users.clone());
/// let writes = RetryLayer::new(RetryPolicy::attempts(2)).budget(users);
/// ```
#[derive(Clone)]
pub struct Budget {
    account: Arc<Account>,
}

struct Account {
    window: Duration,
    /// How long a slot of the window is, in nanoseconds: a millisecond at least.
    slot: u64,
    per_second: u32,
    ledger: Ledger,
    crowd: Crowd,
    born: Instant,
}

/// A retry that was granted. Its place among those in flight is given back when this is dropped.
#[derive(Debug)]
#[must_use = "the place in flight is given back when this is dropped"]
pub struct Withdrawal {
    account: Arc<Account>,
    counted: u64,
}

// ===== impl Budget =====

impl Budget {
    /// Grants retries for 20 % of the requests of the last 10 s and 10 in each second besides, and at most 3 at once, or
    /// 20 % of what is in flight if that is more. (The first two are tower's figures, the others Envoy's.)
    #[must_use]
    pub fn new() -> Self {
        Self::with(Grant::new(0.2, 0), 10, Duration::from_secs(10), Grant::new(0.2, 3))
    }

    /// Grants retries for this share of the requests, from 0 to 1.
    ///
    /// This begins a budget that has counted nothing yet: say it before cloning.
    ///
    /// # Panics
    /// If it is no such share.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        let account = &*self.account;
        Self::with(Grant::new(share, 0), account.per_second, account.window, account.crowd.share())
    }

    /// Grants so many retries in each second besides, so that a client with little traffic can try again at all.
    ///
    /// This begins a budget that has counted nothing yet: say it before cloning.
    #[must_use]
    pub fn reserve_per_second(self, retries: u32) -> Self {
        let account = &*self.account;
        Self::with(account.ledger.grant(), retries, account.window, account.crowd.share())
    }

    /// The window over which requests and retries are compared. It moves by a tenth of itself.
    ///
    /// This begins a budget that has counted nothing yet: say it before cloning.
    ///
    /// # Panics
    /// If it is shorter than 10 ms.
    #[must_use]
    pub fn over(self, window: Duration) -> Self {
        assert!(window >= Duration::from_millis(10), "a window of {window:?} is too short to count anything in it");
        let account = &*self.account;
        Self::with(account.ledger.grant(), account.per_second, window, account.crowd.share())
    }

    /// Lets at most this share of what is in flight be retries, or `at_least` of them if that is more.
    ///
    /// This begins a budget that has counted nothing yet: say it before cloning.
    ///
    /// # Panics
    /// If `share` is none from 0 to 1.
    #[must_use]
    pub fn in_flight(self, share: f64, at_least: u32) -> Self {
        let account = &*self.account;
        Self::with(account.ledger.grant(), account.per_second, account.window, Grant::new(share, at_least))
    }

    fn with(share: Grant, per_second: u32, window: Duration, crowd: Grant) -> Self {
        let reserve = u128::from(per_second) * window.as_millis() / 1000;
        let reserve = u32::try_from(reserve).unwrap_or(u32::MAX);
        let ledger = Ledger::new(Grant { reserve, ..share });
        let account = Account {
            window,
            slot: nanos(window) / SLOTS,
            per_second,
            ledger,
            crowd: Crowd::new(crowd),
            born: Instant::now(),
        };
        Self { account: Arc::new(account) }
    }

    /// Counts a request that has come back from the destination, whatever came of it.
    #[inline]
    pub fn deposit(&self) {
        self.account.ledger.deposit(self.account.slot());
    }

    /// Asks for a retry; `None` if it is not granted.
    #[must_use]
    pub fn withdraw(&self) -> Option<Withdrawal> {
        if !self.account.crowd.join() {
            return None;
        }
        // Its place is given back when it is dropped, granted or not.
        let mut withdrawal = Withdrawal { account: Arc::clone(&self.account), counted: 0 };
        withdrawal.counted = self.account.ledger.withdraw(self.account.slot())?;
        Some(withdrawal)
    }

    /// A request begins to wait for its answer. It must [`leave`](Self::leave).
    #[inline]
    pub(super) fn enter(&self) {
        self.account.crowd.enter();
    }

    #[inline]
    pub(super) fn leave(&self) {
        self.account.crowd.leave();
    }

    /// How many requests wait for an answer, and how many retries of them.
    #[must_use]
    pub fn waiting(&self) -> (u32, u32) {
        self.account.crowd.at_once()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("grant", &self.account.ledger.grant())
            .field("window", &self.account.window)
            .field("in_flight", &self.account.crowd.share())
            .finish_non_exhaustive()
    }
}

// ===== impl Account =====

impl Account {
    fn slot(&self) -> u64 {
        nanos(self.born.elapsed()) / self.slot
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account")
    }
}

// ===== impl Withdrawal =====

impl Withdrawal {
    /// Gives it back whole: nothing was sent for it.
    pub fn refund(self) {
        self.account.ledger.refund(self.counted);
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.account.crowd.part();
    }
}
