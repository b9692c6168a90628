//! `cargo xtask ci`: what must hold before a change is taken.

use crate::{
    book,
    step::{Done, Failure, cargo, output_of, run},
    test,
    workspace::Workspace,
};
use std::process::Stdio;

const DENY_WARNINGS: [&str; 3] = ["--", "--deny", "warnings"];

/// Runs every check; the quick ones first.
pub(crate) fn all() -> Done {
    need_component("fmt", "rustfmt")?;
    need_component("clippy", "clippy")?;

    run("format", &mut cargo(["fmt", "--all", "--check"]))?;
    book::build()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run("lints", cargo(clippy).args(DENY_WARNINGS))?;
    each_feature_alone()?;
    run(
        "documentation",
        cargo(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    test::all()
}

/// A layer must build without its neighbours: with each feature of each package alone, and with none.
///
/// clippy checks what `cargo check` does, and turns the warnings of our own packages, and only those, into errors.
fn each_feature_alone() -> Done {
    for package in Workspace::read()?.packages.iter().filter(|package| !package.features.is_empty()) {
        let without = ["clippy", "--package", &package.name, "--no-default-features"];
        run(&format!("{} with no feature", package.name), cargo(without).args(DENY_WARNINGS))?;
        for feature in &package.features {
            let mut alone = cargo(without);
            alone.args(["--features", feature]).args(DENY_WARNINGS);
            run(&format!("{} with {feature} alone", package.name), &mut alone)?;
        }
    }
    Ok(())
}

fn need_component(subcommand: &str, component: &str) -> Done {
    output_of(cargo([subcommand, "--version"]).stdin(Stdio::null()))
        .map(drop)
        .map_err(|_| Failure::new(format!("{component} is missing; get it with: rustup component add {component}")))
}
