//! Bartizan as a program. Its first command is a streaming reverse proxy.
//!
//! `bartizan proxy --listen 127.0.0.1:8410 --to http://127.0.0.1:8400`: [`cli`] is how it is told what to do, [`proxy`]
//! is what it does then, [`log`] what it tells meanwhile, [`lines`] how nobody waits for who reads that.

mod cli;
mod lines;
mod log;
mod proxy;
mod words;

use self::{cli::Command, log::note};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    // What is not UTF-8 is no reason to panic: it is read with marks in the place of what is not.
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let asked = cli::parse(arguments).and_then(|command| match command {
        Command::Proxy(plan) => log::start().map(|()| Some(plan)),
        // Whatever is wrong besides: who asks for help gets it.
        Command::Help(text) => {
            say(text);
            Ok(None)
        }
    });
    let done = match asked {
        Ok(Some(plan)) => proxy::run(&plan),
        Ok(None) => Ok(()),
        Err(mistake) => {
            note(&format!("bartizan: {mistake} (--help tells more)"));
            return ExitCode::from(2);
        }
    };
    let status = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("bartizan: {error}"));
            ExitCode::FAILURE
        }
    };
    log::finish();
    status
}

/// To whoever started it. That nobody may be listening is no reason to stop, as `println!` would.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
