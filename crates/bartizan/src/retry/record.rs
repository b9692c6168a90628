//! What is kept of a request while there may be another attempt, whatever its service and its body.

use super::{attempt::Attempt, budget::Withdrawal, event::Reason, head::Head, policy::RetryPolicy};
use crate::shared::Deadline;
use std::time::Duration;
use tokio::time::Instant;

/// What is kept of a request while there may be another attempt.
#[derive(Debug)]
pub(super) struct Record {
    /// What every attempt begins with. Empty after the last one.
    pub(super) head: Head,
    pub(super) is_grpc: bool,
    /// The attempt that is being made, or was.
    pub(super) attempt: u32,
    /// How many of them were refused on this side, and went elsewhere: the next hop has not seen them.
    pub(super) unsent: u32,
    /// The request's own policy, if it has one.
    pub(super) given: Option<Box<RetryPolicy>>,
    pub(super) may_repeat: bool,
    pub(super) prior: Attempt,
    /// When its time is over: looked at anew when an attempt has failed.
    pub(super) deadline: Option<Deadline>,
    /// When this attempt began, if somebody has to know.
    pub(super) began: Option<Instant>,
    /// The last pause.
    pub(super) pause: Duration,
    /// Why the last attempt has failed.
    pub(super) reason: Reason,
    /// The destination has been asked, and the budget knows of the request.
    pub(super) is_counted: bool,
    /// The first retry that is certain to be no second call costs nothing.
    pub(super) had_free: bool,
    /// What was withdrawn for the next attempt, as long as that is not sent.
    pub(super) withdrawal: Option<Withdrawal>,
    /// What was withdrawn for the attempt that is being made.
    pub(super) spent: Option<Withdrawal>,
}

// ===== impl Record =====

impl Record {
    /// Empties it for another request.
    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.is_grpc = false;
        self.attempt = 1;
        self.unsent = 0;
        self.given = None;
        self.may_repeat = false;
        self.prior = Attempt::FIRST;
        self.deadline = None;
        self.began = None;
        self.pause = Duration::ZERO;
        self.reason = Reason::Error;
        self.is_counted = false;
        self.had_free = false;
        self.refund();
        self.spent = None;
    }

    /// There is no next attempt: nothing is sent for what was withdrawn.
    pub(super) fn refund(&mut self) {
        if let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.refund();
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            head: Head::default(),
            is_grpc: false,
            attempt: 1,
            unsent: 0,
            given: None,
            may_repeat: false,
            prior: Attempt::FIRST,
            deadline: None,
            began: None,
            pause: Duration::ZERO,
            reason: Reason::Error,
            is_counted: false,
            had_free: false,
            withdrawal: None,
            spent: None,
        }
    }
}
