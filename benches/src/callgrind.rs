//! Instructions, allocations and clock reads per request, counted under valgrind.
//!
//! A case runs twice, for a short and for a long while, each time in a process of its own; what differs is what the
//! requests cost, and nothing of the start. Allocations are the calls of the allocator's own functions: nothing in the
//! measured program counts, so nothing in it is disturbed.

use crate::{
    cases::Terms,
    check::warm_up,
    fixture::Requests,
    run::{Run, Subject, runtime, send},
};
use std::{fmt, fs, future::Future, hint::black_box, ops, path::Path, process::Command};
use tokio::runtime::Runtime;

/// Runs the case `.0` times after warming up.
pub(crate) struct Count(pub(crate) u32);

/// What a request costs; or, between two cases, costs more.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
    pub(crate) clock_reads: f64,
    /// Without those that valgrind makes of clock reads.
    pub(crate) system_calls: f64,
}

const SHORT: u32 = 1024;
const LONG: u32 = 5120;

/// For glibc: what is small and free is always at hand, and what is free at the heap's end stays and never runs out.
const HEAP: &str =
    "glibc.malloc.tcache_count=65535:glibc.malloc.top_pad=67108864:glibc.malloc.trim_threshold=1073741824";

/// So many gaps of the heap are filled, and what is as long as this finds none any more.
const GAPS: usize = 16 * 1024;
/// The first size of which malloc keeps none at hand.
const GAP: usize = 1033;

const VALGRIND_MISSING: &str =
    "valgrind is missing: install it (`apt-get install valgrind`, `dnf install valgrind`, `pacman -S valgrind`)";

/// What a request of this case costs.
pub(crate) fn cost(case: &str) -> Result<Cost, String> {
    let (short, long) = (total(case, SHORT)?, total(case, LONG)?);
    let requests = f64::from(LONG - SHORT);
    Ok((long - short).map(|difference| difference / requests))
}

/// What the whole process costs.
fn total(case: &str, n: u32) -> Result<Cost, String> {
    let out = std::env::temp_dir().join(format!("bartizan-benches-{}.out", std::process::id()));
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-systime=nsec", "--compress-strings=no"])
        .arg("--toggle-collect=*callgrind*measured*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args(["count", case, &n.to_string()])
        .env("GLIBC_TUNABLES", HEAP)
        .output()
        .map_err(|_| VALGRIND_MISSING)?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned());
    }
    let profile = read_and_remove(&out)?;
    Ok(parse(&profile))
}

fn read_and_remove(path: &Path) -> Result<String, String> {
    let read = fs::read(path).map_err(|error| format!("callgrind left no profile: {error}"))?;
    fs::remove_file(path).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Reads callgrind's profile: `events:` names the columns of `totals:`; `calls=` follows the `cfn=` that it counts, and
/// stands before what those calls cost.
///
/// Calls and system calls are counted everywhere, instructions only where they are collected. What counts a clock read
/// in all places would count those of clocks that calibrate themselves at the start, for a time and not for a number.
fn parse(profile: &str) -> Cost {
    let mut cost = Cost::default();
    let mut all_clock_reads = 0.0;
    let mut events = Vec::new();
    let mut callee = "";
    let mut lines = profile.lines();
    while let Some(line) = lines.next() {
        if let Some(names) = line.strip_prefix("events: ") {
            events = names.split(' ').collect();
        } else if let Some(numbers) = line.strip_prefix("totals: ") {
            for (event, number) in events.iter().zip(numbers.split(' ')) {
                match *event {
                    "Ir" => cost.instructions = number.parse().unwrap_or_default(),
                    "sysCount" => cost.system_calls = number.parse().unwrap_or_default(),
                    _ => {}
                }
            }
        } else if let Some(function) = line.strip_prefix("cfn=") {
            callee = function;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let calls: f64 = calls.split(' ').next().and_then(|calls| calls.parse().ok()).unwrap_or_default();
            match callee.split('@').next() {
                Some("malloc" | "calloc" | "realloc" | "posix_memalign" | "aligned_alloc") => cost.allocations += calls,
                Some("clock_gettime") => {
                    let instructions = lines.next().and_then(|costs| costs.split(' ').nth(1));
                    all_clock_reads += calls;
                    if instructions != Some("0") {
                        cost.clock_reads += calls;
                    }
                }
                _ => {}
            }
        }
    }
    // valgrind hides the kernel's page that answers clock reads without a system call.
    cost.system_calls -= all_clock_reads;
    cost
}

/// What callgrind looks for: it collects in here alone.
#[inline(never)]
fn measured(runtime: &Runtime, future: impl Future<Output = ()>) {
    runtime.block_on(future);
}

/// Takes for good what the warming up has left free between what is in use.
///
/// The fields of a request take more than malloc keeps at hand by size, so that it looks through the gaps. Which there are
/// depends on all that was done before, and may cost 320 instructions or none; from the heap's end they always cost the same.
fn fill_gaps() {
    for _ in 0..GAPS {
        black_box(Vec::<u8>::with_capacity(GAP).leak());
    }
}

// ===== impl Count =====

impl Run for Count {
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String> {
        let runtime = runtime();
        let mut requests = Requests::new(terms.peer, 0);
        // Once more after the gaps are filled, since what goes beside the fields for the first time leaves a gap itself.
        for _ in 0..2 {
            runtime.block_on(warm_up(&service, &mut requests));
            fill_gaps();
        }
        measured(&runtime, send(&service, &mut requests, self.0));
        Ok(format!("{} requests", self.0))
    }
}

// ===== impl Cost =====

impl Cost {
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            instructions: f(self.instructions),
            allocations: f(self.allocations),
            clock_reads: f(self.clock_reads),
            system_calls: f(self.system_calls),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, allocations, clock_reads, system_calls } = self;
        write!(
            f,
            "{instructions:.0} instructions, {allocations:.2} allocations, {clock_reads:.2} clock reads, \
             {system_calls:.2} system calls"
        )
    }
}

impl ops::Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            instructions: self.instructions - other.instructions,
            allocations: self.allocations - other.allocations,
            clock_reads: self.clock_reads - other.clock_reads,
            system_calls: self.system_calls - other.system_calls,
        }
    }
}
