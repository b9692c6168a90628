//! `bff tour`: a demo of its own, broken step by step. Each step shows what users see meanwhile, and checks it.
//!
//! It is a story for people and a test of the whole, in real time and over real sockets.

mod rush;
mod seen;
mod stage;
mod story;
mod wait;

use crate::ports::Ports;
use stage::Stage;
use std::{error::Error, time::Duration};
use tokio::time::timeout;

/// Four times as long as it takes.
const AT_MOST: Duration = Duration::from_secs(180);

/// Plays it. An error says which claims did not hold.
pub(crate) async fn run(ports: &Ports) -> Result<(), Box<dyn Error>> {
    let mut stage = Stage::set(ports).await?;
    let played = timeout(AT_MOST, story::play(&mut stage)).await;
    played.map_err(|_| format!("it was not over after {AT_MOST:?}"))??;
    stage.end()
}
