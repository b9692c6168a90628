//! The demo: four services and a backend for frontend in front of them, in one process.
//!
//! `cargo run -p bff` starts it and prints what to try. [`stack`] is what a request goes through, [`dashboard`] what is
//! aggregated, [`services`] what is asked.

mod dashboard;
mod ports;
mod services;
mod stack;
mod upstreams;

use crate::{
    ports::{Ports, Wanted},
    upstreams::Upstreams,
};
use bartizan_gateway::{bind, serve, shutdown_signal};
use std::{error::Error, io::Write, process::ExitCode, time::Duration};

/// How long requests may take to finish after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let ports = match ports::wanted(std::env::args().skip(1)) {
        Ok(Wanted::Run(ports)) => ports,
        Ok(Wanted::Help) => {
            say(ports::HELP);
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            note(&format!("bff: {mistake} (--help lists the flags)"));
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(ports).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("bff: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(ports: Ports) -> Result<(), Box<dyn Error>> {
    let listener = bind(ports.bff()).await.map_err(|error| ports.advise(&error))?;
    services::start(&ports).await?;
    let app = stack::app(&Upstreams::new(&ports))?;

    say(&ports.banner());
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
