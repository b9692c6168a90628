//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use super::{plan::Plan, tally::Tally};
use crate::note;
use std::{
    io::{IsTerminal, Write, stderr},
    time::Duration,
};
use tokio::time::Instant;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is shown of a run while it lasts.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    time: Duration,
    on_terminal: bool,
    lines: u32,
}

impl Progress {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { start: Instant::now(), time: plan.time, on_terminal: stderr().is_terminal(), lines: 0 }
    }

    pub(crate) fn show(&mut self, tally: &Tally) {
        let passed = self.start.elapsed();
        let line = line(passed, self.time, tally);
        if self.on_terminal {
            // Whether it can be shown changes nothing.
            let _ = write!(stderr(), "\r\x1b[K{} {line}", bar(passed, self.time)).and_then(|()| stderr().flush());
        } else if passed >= LINE_EVERY * (self.lines + 1) {
            self.lines += 1;
            note(&line);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        if self.on_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(passed: Duration, of: Duration, tally: &Tally) -> String {
    let (good, answered) = (tally.good(), tally.answered());
    format!("{:>3} of {} s: {answered} answered, {good} of them 2xx", passed.min(of).as_secs(), of.as_secs_f64())
}

fn bar(passed: Duration, of: Duration) -> String {
    const WIDTH: usize = 30;
    let share = (passed.as_secs_f64() / of.as_secs_f64()).clamp(0., 1.);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to WIDTH")]
    let full = (share * WIDTH as f64) as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::bar;
    use std::time::Duration;

    #[test]
    fn the_bar_has_one_width_whatever_the_time() {
        for (passed, full) in [(0, 0), (1, 1), (15, 15), (29, 29), (30, 30), (99, 30)] {
            let bar = bar(Duration::from_secs(passed), Duration::from_secs(30));
            assert_eq!((bar.len(), bar.matches('=').count()), (32, full), "{passed}");
        }
    }
}
