//! The workspace's chores. `cargo xtask` alone says which there are.

mod bench;
mod book;
mod ci;
mod step;
mod test;
mod workspace;

use std::{env, process::ExitCode};
use step::Done;

const USAGE: &str = "\
cargo xtask <command>

  test           all tests of the workspace, the doctests of README and docs, and the model checks of the store
  ci             format, lints, the book, each feature alone, documentation, then `test`
  bench [mode…]  instructions, allocations and time per request, beside the peers'; `bench --help` tells more
  book           checks the pages and links of README and docs; builds the book if mdbook is there
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done: Done = match args.as_slice() {
        ["test"] => test::all(),
        ["ci"] => ci::all(),
        ["bench", args @ ..] => bench::run_driver(args),
        ["book"] => book::build(),
        ["help" | "--help" | "-h"] => {
            eprint!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            if !other.is_empty() {
                eprintln!("xtask: no such command: {}\n", other.join(" "));
            }
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
