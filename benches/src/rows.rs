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

/// Whatever is sent of what is stored.
const HIT: Target = at_most(2000, 3);

/// To know that nothing is stored.
const MISS: Target = Target { instructions: 1200, allocations: None };

pub(crate) const ROWS: &[Row] = &[
    Row { job: "nothing: a layer that only calls", entries: &[peer("(ten lines)", "peer/nothing")] },
    Row {
        job: "rate limit, per client address",
        entries: &[
            ours("ours/limit-client", at_most(400, 0)),
            peer("tower_governor", "peer/limit-client"),
            floor("floor/limit-client"),
            Entry { who: "(the floor, with our memory)", ..floor("floor/limit-client-memory") },
        ],
    },
    Row {
        job: "rate limit, by a tenant's field",
        entries: &[
            ours("ours/limit-header", at_most(720, 0)),
            peer("tower_governor", "peer/limit-header"),
            floor("floor/limit-header"),
        ],
    },
    Row {
        job: "rate limit, told in fields of each response",
        entries: &[
            ours("ours/limit-fields", at_most(1900, 2)),
            peer("tower_governor, `use_headers`", "peer/limit-fields"),
            floor("floor/limit-fields"),
        ],
    },
    Row {
        job: "rate limit, refused: 429 whole",
        entries: &[
            ours("ours/limit-refused", at_most(700, 3)),
            Entry { who: "**bartizan**, with fields", ..ours("ours/limit-refused-fields", at_most(1900, 3)) },
            peer("tower_governor", "peer/limit-refused"),
            floor("floor/limit-refused"),
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
        entries: &[ours("ours/tenant", at_most(800, 1)), peer("axum, `from_fn`", "peer/tenant"), floor("floor/tenant")],
    },
    Row {
        job: "breaker, closed, the status looked at",
        entries: &[
            ours("ours/breaker-closed", at_most(450, 0)),
            Entry {
                who: "**bartizan**, a million calls in the window",
                ..ours("ours/breaker-closed-full-window", at_most(450, 0))
            },
            Entry { who: "**bartizan**, the last 100 calls", ..ours("ours/breaker-closed-count", at_most(450, 0)) },
            Entry {
                who: "**bartizan**, the last 65 536 calls",
                ..ours("ours/breaker-closed-full-count", at_most(450, 0))
            },
            Entry { who: "**bartizan**, slow calls count", ..ours("ours/breaker-closed-slow-calls", at_most(600, 0)) },
            peer("tower-resilience, `CircuitBreaker`, the last 100 calls", "peer/breaker-closed"),
            floor("floor/breaker-closed"),
        ],
    },
    Row {
        job: "breaker, closed, one of 64 by a tenant's field",
        entries: &[Entry { target: None, ..ours("ours/breaker-closed-keyed", at_most(0, 0)) }],
    },
    Row {
        job: "breaker, open: 503 whole",
        entries: &[
            ours("ours/breaker-open", at_most(400, 3)),
            peer("tower-resilience, `CircuitBreaker`, by axum's `HandleErrorLayer`", "peer/breaker-open"),
            floor("floor/breaker-open"),
        ],
    },
    Row {
        job: "limit of what is in flight",
        entries: &[
            ours("ours/concurrency", at_most(250, 0)),
            Entry {
                who: "**bartizan**, by a tenant's field",
                target: None,
                ..ours("ours/concurrency-by-key", at_most(0, 0))
            },
            peer("tower, `GlobalConcurrencyLimit`", "peer/concurrency"),
            peer("tower-resilience, `Bulkhead`", "peer/concurrency-resilience"),
            floor("floor/concurrency"),
        ],
    },
    Row {
        job: "limit of what is in flight, refused: 503 whole",
        entries: &[ours("ours/concurrency-refused", at_most(300, 3)), floor("floor/refused")],
    },
    Row { job: "faults on purpose, switched off", entries: &[ours("ours/fault-off", at_most(200, 0))] },
    Row {
        job: "retry that is not needed, with a budget",
        entries: &[
            ours("ours/retry", at_most(1700, 2)),
            peer("tower, `Retry`, `TpsBudget`", "peer/retry"),
            peer("tower-resilience, `Retry`, without the body", "peer/retry-resilience"),
        ],
    },
    Row {
        job: "retry of what may not be sent twice: POST without a key",
        entries: &[
            Entry { over: "ours/post", ..ours("ours/retry-post", at_most(450, 0)) },
            Entry {
                who: "**bartizan**, round a service that can fail: a copy is kept for what was never processed",
                over: "ours/post",
                ..ours("ours/retry-post-that-can-fail", at_most(1700, 2))
            },
            Entry { over: "ours/post", ..peer("tower, `Retry`, `TpsBudget`", "peer/retry-post") },
            Entry { over: "ours/post", ..floor("floor/retry-post") },
        ],
    },
    Row {
        job: "timeout, of a service that answers at once",
        entries: &[
            ours("ours/timeout-ready", at_most(190, 0)),
            Entry {
                who: "**bartizan**, for all attempts: sets the deadline",
                ..ours("ours/timeout-total", at_most(650, 1))
            },
            peer("tower", "peer/timeout-ready"),
            peer("tower-http", "peer/timeout-ready-http"),
            peer("tower-resilience", "peer/timeout-ready-resilience"),
            floor("floor/timeout-ready"),
        ],
    },
    Row {
        job: "timeout, of a service that is waited for",
        entries: &[
            Entry { over: "ours/pause", ..ours("ours/timeout-pending", at_most(960, 0)) },
            Entry { over: "ours/pause", ..peer("tower", "peer/timeout-pending") },
            Entry { over: "ours/pause", ..peer("tower-http", "peer/timeout-pending-http") },
            Entry { over: "ours/pause", ..peer("tower-resilience", "peer/timeout-pending-resilience") },
            Entry { over: "ours/pause", ..floor("floor/timeout-pending") },
        ],
    },
    Row {
        job: "deadline, set on each request",
        entries: &[
            ours("ours/deadline", at_most(900, 1)),
            Entry {
                who: "**bartizan**, and told to the next service",
                over: "ours/deadline",
                ..ours("ours/deadline-told", at_most(1500, 2))
            },
        ],
    },
    Row {
        job: "fallback that is not needed",
        entries: &[
            ours("ours/fallback", at_most(160, 0)),
            Entry {
                who: "**bartizan**, with another service, for which the head is kept",
                ..ours("ours/fallback-service", at_most(2900, 8))
            },
        ],
    },
    Row {
        job: "cache, hit, 64 B",
        entries: &[
            hit("**bartizan**", "cache/64-ours", "cache/64-none", Some(HIT)),
            hit("http-cache-tower-server, moka", "cache/64-server", "cache/64-none", None),
            hit("axum-response-cache, which knows no `Cache-Control`", "cache/64-axum", "cache/64-none", None),
            hit("tower-resilience, `Cache`, by a key of ours", "cache/64-resilience", "cache/64-none", None),
        ],
    },
    Row {
        job: "cache, hit, 64 KiB",
        entries: &[
            hit("**bartizan**", "cache/64k-ours", "cache/64k-none", Some(HIT)),
            hit("axum-response-cache", "cache/64k-axum", "cache/64k-none", None),
            hit("tower-resilience, `Cache`", "cache/64k-resilience", "cache/64k-none", None),
        ],
    },
    Row {
        job: "cache, hit, by `Vary: accept-encoding`",
        entries: &[
            hit("**bartizan**", "cache/vary-ours", "cache/vary-none", Some(HIT)),
            hit("http-cache-tower-server, moka", "cache/vary-server", "cache/vary-none", None),
        ],
    },
    Row {
        job: "cache, hit, 304 for `If-None-Match`",
        entries: &[hit("**bartizan**", "cache/304-ours", "cache/304-none", Some(HIT))],
    },
    Row {
        job: "cache, the look-up that finds nothing",
        entries: &[
            hit("**bartizan**, where nothing was ever stored", "cache/lookup-ours", "cache/lookup-none", Some(MISS)),
            hit("**bartizan**, where something was, and is gone", "cache/lookup-gone", "cache/lookup-none", Some(MISS)),
            hit(
                "**bartizan**, the same of a thousand URLs in turn",
                "cache/lookup-many-gone",
                "cache/lookup-many-none",
                Some(at_most(1800, 2)),
            ),
        ],
    },
    Row {
        job: "cache, nothing there: the origin is asked for what may not be stored",
        entries: &[
            ours("cache/miss-ours", at_most(8500, 9)),
            peer("http-cache-tower-server, moka", "cache/miss-server"),
        ],
    },
    Row {
        job: "cache, passed by: POST",
        entries: &[Entry { over: "ours/post", ..ours("cache/post-ours", at_most(5600, 7)) }],
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

const fn hit(who: &'static str, case: &'static str, over: &'static str, target: Option<Target>) -> Entry {
    Entry { who, case, over, target }
}

/// The least that keeps the same promise: what ours could come to, if they kept no other.
const fn floor(case: &'static str) -> Entry {
    peer("(the floor: by hand, with nothing but this)", case)
}

const fn at_most(instructions: u32, allocations: u32) -> Target {
    Target { instructions, allocations: Some(allocations) }
}
