//! The demo: four services and a backend for frontend in front of them, in one process.
//!
//! `cargo run -p bff` starts it and prints what to try. [`stack`] is what a request goes through, [`dashboard`] what is
//! aggregated, [`upstreams`] how the services behind are called, [`services`] what they answer.
//!
//! `bff load`, `bff chaos`, `bff purge` and `bff tour` come to a running demo from outside: see [`load`], [`chaos`],
//! [`mod@purge`] and [`tour`].

mod banner;
mod chaos;
mod cli;
mod dashboard;
mod load;
mod ports;
mod purge;
mod refuse;
mod services;
mod stack;
mod tour;
mod upstreams;

use crate::{cli::Command, ports::Ports};
use bartizan::cache::ResponseCache;
use bartizan_gateway::{bind, serve, shutdown_signal};
use std::{error::Error, io::Write, process::ExitCode, time::Duration};

/// How long requests may take to finish after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

/// How much is stored of what the services answer.
const CACHE: u64 = 16 * 1024 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    // What is not UTF-8 is no reason to panic: it is read with marks in the place of what is not.
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let done = match cli::parse(arguments) {
        Ok(Command::Run(ports)) => run(ports).await,
        Ok(Command::Load(plan)) => load::run(plan).await,
        Ok(Command::Chaos(action, ports)) => chaos::run(action, &ports).await,
        Ok(Command::Purge(wanted, ports)) => purge::run(&wanted, &ports).await,
        Ok(Command::Tour(ports)) => tour::run(&ports).await,
        Ok(Command::Help(text)) => {
            say(text);
            Ok(())
        }
        Err(mistake) => {
            note(&format!("bff: {mistake} (--help tells more)"));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("bff: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(ports: Ports) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let advise = |error| ports.advise("", &error);
    let listener = bind(ports.bff()).await.map_err(advise)?;
    let cache = ResponseCache::new(CACHE);
    services::start(&ports, &cache).await.map_err(advise)?;
    let app = stack::app(&upstreams::behind(&ports, cache)?, std::io::stderr())?;

    say(&banner::banner(&ports));
    let stopped = async {
        shutdown_signal().await;
        let limit = DRAIN.as_secs();
        note(&format!(
            "stopping: up to {limit} s for the requests that are being answered; Ctrl-C again stops at once"
        ));
        tokio::spawn(async {
            shutdown_signal().await;
            std::process::exit(130)
        });
    };
    let drained = serve(listener, app).until(stopped).drain(DRAIN).run().await;
    note(&drained.to_string());
    Ok(())
}

// To whoever started it. That nobody may be listening is no reason to stop, as `println!` would.

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
