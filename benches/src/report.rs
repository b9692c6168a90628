//! Everything, each in a process of its own, as tables of Markdown.

use crate::{
    callgrind::{self, Cost},
    rows::{BARE, Entry, ROWS, Row, Target},
    time::median,
};
use std::{collections::HashMap, fmt::Write, process::Command};

/// What was measured of one case.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// In full: of the bare service and of what stands round it.
    cost: Cost,
    bare_nanos: f64,
    added_nanos: f64,
    throughput: f64,
    processor: f64,
}

/// What was measured of one case in each round.
#[derive(Clone, Debug, Default)]
struct Times {
    bare: Vec<f64>,
    added: Vec<f64>,
    one: Vec<f64>,
    two: Vec<f64>,
    processor: Vec<f64>,
}

/// What depends on the moment is measured so many times.
const ROUNDS: usize = 3;

const STORES: [&str; 3] = ["memory", "governor", "array"];

/// Measures every row with a case whose name contains `text`, and, without a text, the stores.
pub(crate) fn all(text: &str) -> Result<String, String> {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.entries.iter().any(|entry| entry.case.contains(text))).collect();
    let mut cases = vec![BARE];
    for entry in rows.iter().flat_map(|row| row.entries) {
        for name in [entry.over, entry.case] {
            if !cases.contains(&name) {
                cases.push(name);
            }
        }
    }
    let layers = layers(&rows, &measure(&cases)?);
    if text.is_empty() { Ok(format!("{layers}\n{}", stores()?)) } else { Ok(layers) }
}

fn measure<'a>(cases: &[&'a str]) -> Result<HashMap<&'a str, Measured>, String> {
    for case in cases {
        itself(&["check", case])?;
    }
    let mut times = vec![Times::default(); cases.len()];
    // Round and round, so that a busy moment of the machine does not fall on one case alone.
    for round in 1..=ROUNDS {
        for (case, times) in cases.iter().zip(&mut times) {
            eprintln!("time, threads, {round} of {ROUNDS}: {case}");
            let [bare, added] = numbers(&["time", case])?;
            times.bare.push(bare);
            times.added.push(added);
            let [one, two, processor] = numbers(&["threads", case])?;
            times.one.push(one);
            times.two.push(two);
            times.processor.push(processor);
        }
    }
    let rest = cases.iter().zip(times).map(|(case, mut times)| {
        eprintln!("count: {case}");
        let cost = callgrind::cost(case)?;
        let (bare_nanos, added_nanos) = (median(&mut times.bare), median(&mut times.added));
        let best = |seconds: Vec<f64>| seconds.into_iter().fold(f64::INFINITY, f64::min);
        let throughput = best(times.one) / best(times.two);
        let processor = median(&mut times.processor);
        Ok((*case, Measured { cost, bare_nanos, added_nanos, throughput, processor }))
    });
    rest.collect()
}

fn layers(rows: &[&Row], measured: &HashMap<&str, Measured>) -> String {
    let mut out = String::from(
        "| job | by | instructions | allocations | at most | clock reads | system calls | ns (of bare) | throughput of two threads | processor time of two |\n\
         |---|---|--:|--:|---|--:|--:|--:|--:|--:|\n",
    );
    let bare = Measured { added_nanos: measured[BARE].bare_nanos, ..measured[BARE] };
    line(&mut out, "(the bare service, in full)", "", bare, None);
    for row in rows {
        let mut job = row.job;
        for Entry { who, case, over, target } in row.entries {
            let (mut case, over) = (measured[case], (measured[over], *over));
            case.cost = case.cost - over.0.cost;
            if over.1 != BARE {
                case.added_nanos -= over.0.added_nanos;
            }
            line(&mut out, job, who, case, *target);
            job = "";
        }
    }
    out
}

fn line(out: &mut String, job: &str, who: &str, measured: Measured, target: Option<Target>) {
    let Measured { cost, bare_nanos, added_nanos, throughput, processor } = measured;
    let target = target.map(|target| reached(cost, target)).unwrap_or_default();
    let _ = writeln!(
        out,
        "| {job} | {who} | {:.0} | {} | {target} | {} | {} | {added_nanos:.0} ({:.2}) | {throughput:.2} × | {processor:.2} × |",
        cost.instructions,
        count(cost.allocations),
        count(cost.clock_reads),
        count(cost.system_calls),
        added_nanos / bare_nanos,
    );
}

fn reached(cost: Cost, Target { instructions, allocations }: Target) -> String {
    let few_instructions = cost.instructions.round() <= f64::from(instructions);
    let few_allocations = allocations.is_none_or(|allocations| cost.allocations.round() <= f64::from(allocations));
    let mark = if few_instructions && few_allocations { "✓" } else { "✗" };
    let allocations = allocations.map(|allocations| format!(", {allocations}")).unwrap_or_default();
    format!("{instructions}{allocations} {mark}")
}

/// A number of things: whole, unless it is not.
fn count(number: f64) -> String {
    if (number - number.round()).abs() < 0.01 { format!("{:.0}", number.round() + 0.0) } else { format!("{number:.2}") }
}

fn stores() -> Result<String, String> {
    let mut times = String::from(
        "| decision alone | ns, a thousand keys | ns, a million keys | ratio (at most 3) |\n\
         |---|--:|--:|--:|\n",
    );
    let mut memory = String::from(
        "| memory | bytes per key, of a million | MiB, empty | MiB, a million keys | MiB, ten million | still limits those from before |\n\
         |---|--:|--:|--:|--:|---|\n",
    );
    for store in STORES {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            eprintln!("decide, {round} of {ROUNDS}: {store}");
            few.extend(numbers::<1>(&["decide", store, "1000"])?);
            many.extend(numbers::<1>(&["decide", store, "1000000"])?);
        }
        let (few, many) = (median(&mut few), median(&mut many));
        let _ = writeln!(times, "| {store} | {few:.1} | {many:.1} | {:.1} |", many / few);
        if store != "array" {
            eprintln!("flood: {store}");
            let _ = writeln!(memory, "| {store} | {} |", itself(&["flood", store])?.trim().replace(' ', " | "));
        }
    }
    Ok(format!("{times}\n{memory}"))
}

/// The numbers that this program prints when it is run in another mode.
fn numbers<const N: usize>(args: &[&str]) -> Result<[f64; N], String> {
    let printed = itself(args)?;
    let numbers: Vec<f64> = printed.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().map_err(|_| format!("{}: not {N} numbers: {printed}", args.join(" ")))
}

/// What this program prints when it is run in another mode.
fn itself(args: &[&str]) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let run = Command::new(this).args(args).output().map_err(|error| error.to_string())?;
    if run.status.success() {
        Ok(String::from_utf8_lossy(&run.stdout).into_owned())
    } else {
        Err(format!("{}: {}", args.join(" "), String::from_utf8_lossy(&run.stderr).trim()))
    }
}
