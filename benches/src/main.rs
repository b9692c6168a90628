//! What a request costs: ours beside the peers', on one harness.
//!
//! `cargo run --release -p bartizan-benches -- all` measures everything and prints tables for `docs/performance.md`.
//! The other modes are what `all` runs, each in a process of its own.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

mod callgrind;
mod cases;
mod check;
mod fixture;
mod report;
mod rows;
mod run;
mod sink;
mod store;
mod threads;
mod time;

use self::{rows::BARE, store::Store};
use std::process::ExitCode;

const USAGE: &str = "\
usage: bartizan-benches <mode>
  all [text]              every table; with a text, only the rows with a case whose name contains it
  list                    the names of the cases
  check <case>            runs the case a few thousand times and looks at each answer
  cost <case>             what the case adds, counted by callgrind: while you work on it
  count <case> <n>        runs the case n times after warming up: for callgrind
  time <case>             ns of CPU time per request: of the bare service, and what the case adds
  threads <case>          seconds for the same by one worker and by two, and processor time, two to one
  decide <store> <keys>   ns per decision over so many keys: memory, governor, or array
  flood <store>           resident bytes per key, and after ten million keys";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match measure(&args) {
        Ok(printed) => {
            println!("{printed}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &[&str]) -> Result<String, String> {
    match *args {
        ["all"] => report::all(""),
        ["all", text] => report::all(text),
        ["list"] => Ok(rows::names().collect::<Vec<_>>().join("\n")),
        ["check", case] => cases::run(case, check::Check),
        ["cost", case] => Ok((callgrind::cost(case)? - callgrind::cost(BARE)?).to_string()),
        ["count", case, n] => cases::run(case, callgrind::Count(number(n)?)),
        ["time", case] => cases::run(case, time::Time),
        ["threads", case] => cases::run(case, threads::Threads),
        ["decide", store, keys] => Ok(store::decide(store.parse::<Store>()?, number(keys)?)),
        ["flood", store] => store::flood(store.parse::<Store>()?),
        _ => Err(USAGE.to_owned()),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
