//! What only the demo's flags take.

use super::words::{Words, time};
use crate::ports::Ports;
use std::time::Duration;

// ===== impl Words =====

impl Words {
    pub(super) fn ports(&mut self) -> Result<Ports, String> {
        Ok(Ports::from(self.number(1..=Ports::HIGHEST)?))
    }

    pub(super) fn rate(&mut self) -> Result<f64, String> {
        self.read("a number from 0 to 1", |value| value.parse().ok().filter(|rate| (0. ..=1.).contains(rate)))
    }

    /// A time, or a range of times, in milliseconds.
    pub(super) fn times(&mut self) -> Result<(Option<u64>, Option<u64>), String> {
        self.read("a time such as 800ms, or two as in 200ms..800ms", |value| {
            let (least, most) = match value.split_once("..") {
                Some((least, most)) => (least, Some(most)),
                None => (value, None),
            };
            let most = match most {
                Some(most) => Some(millis(time(most)?)),
                None => None,
            };
            Some((Some(millis(time(least)?)), most))
        })
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
