//! What is measured: a service by each name, and what it must answer.

mod cache;
mod floor;
mod inbound_floor;
mod ours;
mod peers;
mod refusing_floor;

use crate::{
    fixture::{ANSWER, Origin},
    run::Run,
};
use http::StatusCode;

/// How a case is asked, and what each of its answers looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) peer: Peer,
    pub(crate) status: StatusCode,
    /// The whole body; if nothing is said, any that is not empty.
    pub(crate) body: Option<&'static [u8]>,
    /// Whether the origin ran for it.
    pub(crate) is_from_origin: bool,
    pub(crate) fields: &'static [&'static str],
    pub(crate) lines: u64,
}

/// Where a request has the address of its peer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// In axum's `ConnectInfo`, for which others look.
    ConnectInfo,
    /// In `PeerAddr`, for which our layers look.
    PeerAddr,
}

/// Runs a measurement over the case of this name.
pub(crate) fn run(name: &str, run: impl Run) -> Result<String, String> {
    match name.split_once('/') {
        None if name == "bare" => run.run(Terms::OK, Origin),
        Some(("cache", name)) => cache::run(name, run),
        Some(("ours", name)) => ours::run(name, run),
        Some(("peer", name)) => peers::run(name, run),
        Some(("floor", name)) => floor::run(name, run),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> String {
    format!("no case is called {name:?}; `list` names them")
}

// ===== impl Terms =====

impl Terms {
    /// The origin's answer.
    const OK: Self = Self {
        peer: Peer::ConnectInfo,
        status: StatusCode::OK,
        body: Some(ANSWER.as_bytes()),
        is_from_origin: true,
        fields: &[],
        lines: 0,
    };
    /// The same, of a case of ours.
    const OURS: Self = Self { peer: Peer::PeerAddr, ..Self::OK };

    /// Every answer has these fields.
    const fn with(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    /// Every answer is a refusal by a rate limit, which the origin never sees.
    const fn refused(self, fields: &'static [&'static str]) -> Self {
        self.answered_before_origin(StatusCode::TOO_MANY_REQUESTS, None).with(fields)
    }

    /// Every answer is 503, and the origin never sees the request.
    const fn unavailable(self, fields: &'static [&'static str]) -> Self {
        self.answered_before_origin(StatusCode::SERVICE_UNAVAILABLE, None).with(fields)
    }

    const fn answered_before_origin(mut self, status: StatusCode, body: Option<&'static [u8]>) -> Self {
        self.status = status;
        self.body = body;
        self.is_from_origin = false;
        self
    }

    /// Every request leaves one line in the log.
    const fn logged(mut self) -> Self {
        self.lines = 1;
        self
    }
}
