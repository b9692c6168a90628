//! `cargo xtask bench`: the driver in `benches/`, built with optimisations.

use crate::step::{Done, Failure, cargo, is_installed, run};

const USAGE: &str = "\
cargo xtask bench [mode [argument…]]

Instructions (under callgrind), allocations and time per request, layer by layer, beside the peers', in one run.
Without a mode, all tables. The driver in benches/ lists its modes when it is given one that it does not know.
Needs valgrind. What was measured, on which machine, is in docs/performance.md.
";

/// Runs the driver in this mode; in `all`, if none is named.
pub(crate) fn run_driver(mode: &[&str]) -> Done {
    if matches!(mode, ["help" | "--help" | "-h", ..]) {
        eprint!("{USAGE}");
        return Ok(());
    }
    let mode = if mode.is_empty() { &["all"] } else { mode };
    if mode[0] == "all" && !is_installed("valgrind") {
        return Err(Failure::new("valgrind is missing; get it with: apt-get install valgrind (or your system's way)"));
    }
    run("benches", cargo(["run", "--release", "--package", "bartizan-benches", "--"]).args(mode))
}
