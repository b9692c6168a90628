//! `cargo xtask test`: every test, on a machine with nothing but a Rust toolchain.

use crate::{
    step::{Done, Failure, cargo, output_of, run},
    workspace::Workspace,
};
use std::{env, process::Command};

/// Runs the tests of the workspace, then those that explore every order of threads.
pub(crate) fn all() -> Done {
    run(
        "tests of the workspace, and doctests of README and docs",
        &mut cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]),
    )?;
    check_models()
}

/// loom's own atomics and locks take the place of the real ones, so this build shares nothing with the other.
fn check_models() -> Done {
    let target = Workspace::read()?.target.join("loom");
    let flags = format!("{} --cfg bartizan_loom", env::var("RUSTFLAGS").unwrap_or_default());
    for (package, features) in [("bartizan-store", ""), ("bartizan", "cache,circuit_breaker,concurrency_limit,retry")] {
        let loom = |last: &[&str]| -> Command {
            let what = ["test", "--package", package, "--features", features, "--release", "--lib", "loom"];
            let mut command = cargo(what);
            command.args(last).env("RUSTFLAGS", flags.trim()).env("CARGO_TARGET_DIR", &target);
            command
        };
        run(&format!("model checks of {package}, under loom"), &mut loom(&[]))?;
        // A filter that matches nothing is a success to cargo. It is none to us.
        let listed = output_of(&mut loom(&["--", "--list"]))?;
        if !listed.lines().any(|line| line.ends_with(": test")) {
            return Err(Failure::new(format!("no model check ran: {package} has no test whose path contains `loom`")));
        }
    }
    Ok(())
}
