//! What is measured beside what, and what ours is to reach.

/// One job, and who does it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) job: &'static str,
    pub(crate) entries: &'static [Entry],
}

/// One way to do a job: who, in which case, more than what other case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) who: &'static str,
    pub(crate) case: &'static str,
    pub(crate) over: &'static str,
    pub(crate) target: Option<Target>,
}

/// The most that a job may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) instructions: u32,
    /// If they count.
    pub(crate) allocations: Option<u32>,
}

pub(crate) const BARE: &str = "bare";

pub(crate) const ROWS: &[Row] = &[
    Row { job: "nothing: a layer that only calls", entries: &[peer("(ten lines)", "peer/nothing")] },
    Row {
        job: "rate limit, per client address",
        entries: &[ours("ours/limit-client", at_most(400, 0)), peer("tower_governor", "peer/limit-client")],
    },
    Row {
        job: "rate limit, by a tenant's field",
        entries: &[ours("ours/limit-header", at_most(600, 0)), peer("tower_governor", "peer/limit-header")],
    },
    Row {
        job: "rate limit, told in fields of each response",
        entries: &[
            ours("ours/limit-fields", at_most(1500, 2)),
            peer("tower_governor, `use_headers`", "peer/limit-fields"),
        ],
    },
    Row {
        job: "rate limit, refused: 429 whole",
        entries: &[
            ours("ours/limit-refused", at_most(700, 3)),
            Entry { who: "**bartizan**, with fields", ..ours("ours/limit-refused-fields", at_most(700, 3)) },
            peer("tower_governor", "peer/limit-refused"),
        ],
    },
    Row {
        job: "request id, on request and response",
        entries: &[
            ours("ours/request-id", at_most(1700, 2)),
            peer("tower-http, `SetRequestId`, `PropagateRequestId`", "peer/request-id"),
        ],
    },
    Row {
        job: "request id, and a line of JSON",
        entries: &[
            ours("ours/log-json", at_most(4500, 2)),
            Entry {
                who: "**bartizan**, as an event, by tracing-subscriber",
                ..ours("ours/log-event", Target { instructions: 18_000, allocations: None })
            },
            peer("tower-http, `TraceLayer`, by tracing-subscriber", "peer/log-json"),
        ],
    },
    Row {
        job: "the log beyond the id, when nobody reads it",
        entries: &[
            Entry { over: "ours/request-id", ..ours("ours/log-silent", at_most(150, 0)) },
            peer("tower-http, `TraceLayer`", "peer/log-silent"),
        ],
    },
    Row {
        job: "tenant, one of a fixed set",
        entries: &[ours("ours/tenant", at_most(800, 1)), peer("axum, `from_fn`", "peer/tenant")],
    },
    Row {
        job: "all of it: id, JSON line, limit by client, tenant, limit by tenant",
        entries: &[
            Entry { target: None, ..ours("ours/stack", at_most(0, 0)) },
            peer("tower-http, tracing-subscriber, tower_governor, `from_fn`", "peer/stack"),
        ],
    },
];

/// The names of all cases.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    [BARE].into_iter().chain(ROWS.iter().flat_map(|row| row.entries).map(|entry| entry.case))
}

const fn ours(case: &'static str, target: Target) -> Entry {
    Entry { who: "**bartizan**", case, over: BARE, target: Some(target) }
}

const fn peer(who: &'static str, case: &'static str) -> Entry {
    Entry { who, case, over: BARE, target: None }
}

const fn at_most(instructions: u32, allocations: u32) -> Target {
    Target { instructions, allocations: Some(allocations) }
}
