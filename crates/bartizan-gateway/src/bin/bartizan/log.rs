//! What the program tells while it runs: on standard error, line by line.

use crate::lines::Lines;
use std::{
    env,
    ffi::OsStr,
    fmt::Display,
    io::{self, Write},
    sync::OnceLock,
    time::Duration,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

/// Whoever reads them may stop to, and then no request waits for that.
static NOTES: OnceLock<Lines> = OnceLock::new();

/// Warnings and worse, or what `RUST_LOG` says.
pub(crate) fn start() -> Result<(), String> {
    let wanted = wanted(env::var_os("RUST_LOG").as_deref())?;
    let cannot = |error: &dyn Display| format!("nothing can be logged: {error}");
    let notes = Lines::quietly_to(io::stderr()).map_err(|error| cannot(&error))?;
    let notes = NOTES.get_or_init(|| notes);
    let lines = fmt::layer().with_writer(|| notes.clone()).with_ansi(false).log_internal_errors(false);
    registry().with(wanted).with(lines).try_init().map_err(|error| cannot(&error))
}

/// A line to whoever started the program. That nobody may be listening is no reason to stop, as `eprintln!` would.
pub(crate) fn note(text: &str) {
    let line = format!("{text}\n");
    let _ = match NOTES.get() {
        Some(notes) => notes.clone().write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}

/// Waits until all of it is written, and no longer than a second.
pub(crate) fn finish() {
    if let Some(notes) = NOTES.get() {
        notes.finish(Duration::from_secs(1));
    }
}

fn wanted(rust_log: Option<&OsStr>) -> Result<Targets, String> {
    let Some(said) = rust_log.filter(|said| !said.is_empty()) else {
        return Ok(Targets::new().with_default(LevelFilter::WARN));
    };
    // A word alone would be the name of a module of which everything is told, and so a slip of the pen in a level.
    let is_known = |directive: &str| match directive.split_once('=') {
        Some((_, level)) => !level.is_empty(),
        None => !directive.is_empty() && directive.parse::<LevelFilter>().is_ok(),
    };
    let directives = said.to_str().filter(|said| said.split(',').all(is_known));
    directives
        .and_then(|directives| directives.parse().ok())
        .ok_or_else(|| format!("RUST_LOG takes levels such as info, or warn,bartizan_gateway=debug, not {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn wanted(said: Option<&str>) -> Result<Targets, String> {
        super::wanted(said.map(OsStr::new))
    }

    #[test]
    fn warnings_are_told_unless_more_or_less_is_asked_for() {
        for (said, target, level, is_told) in [
            (None, "bartizan", Level::WARN, true),
            (None, "bartizan", Level::INFO, false),
            (Some(""), "bartizan", Level::WARN, true),
            (Some("off"), "bartizan", Level::ERROR, false),
            (Some("info"), "hyper", Level::INFO, true),
            (Some("warn,bartizan_gateway=debug"), "bartizan_gateway::client", Level::DEBUG, true),
            (Some("warn,bartizan_gateway=debug"), "hyper", Level::INFO, false),
        ] {
            assert_eq!(wanted(said).unwrap().would_enable(target, &level), is_told, "{said:?} {target} {level}");
        }
    }

    #[test]
    fn what_is_no_level_is_named_with_what_would_do() {
        for said in ["loud", "inof", "bartizan=loud", "warn,", "bartizan=", "a=b=c"] {
            let mistake = wanted(Some(said)).expect_err(said);
            assert_eq!(
                mistake,
                format!("RUST_LOG takes levels such as info, or warn,bartizan_gateway=debug, not {said:?}")
            );
        }
    }
}
