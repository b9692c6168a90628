//! What came of the requests.

use hdrhistogram::Histogram;
use http::StatusCode;
use std::{collections::BTreeMap, fmt, time::Duration};

/// One request, and what came of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: Result<Answered, Trouble>,
    /// From when it was due to the last byte of the answer.
    pub(super) latency: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    /// If it said that it was partial: the sources of which it said so.
    pub(super) lacks: Option<Vec<String>>,
}

/// Why there was no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// No connection could be made.
    Connect,
    /// It took longer than anybody waits, the time in which too many were in flight among it.
    Timeout,
    /// The connection broke before the answer was whole.
    Broken,
    /// The run was ended before the answer was whole.
    GivenUp,
}

/// All of them, counted. It is as large after a day as after a second.
#[derive(Debug)]
pub(crate) struct Tally {
    latency: Histogram<u64>,
    by_status: BTreeMap<StatusCode, u64>,
    by_trouble: BTreeMap<Trouble, u64>,
    partial: u64,
    /// What partial answers lacked. Of names that a server makes up no more than [`MOST_NAMES`] are kept.
    lacking: BTreeMap<String, u64>,
    /// How many were due so far, those among them that never left.
    due: u64,
    most_in_flight: usize,
    /// How late a request left at worst: this program was slow, or too many were in flight.
    latest: Duration,
    /// How many were due in a second.
    rate: u32,
    /// From the start to the last answer so far.
    took: Duration,
}

/// A share of all requests, and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentile(&'static str, f64);

impl Percentile {
    pub(crate) const P50: Self = Self("p50", 0.50);
    pub(crate) const P95: Self = Self("p95", 0.95);
    pub(crate) const P99: Self = Self("p99", 0.99);
    pub(crate) const P999: Self = Self("p99.9", 0.999);
    const ALL: [Self; 4] = [Self::P50, Self::P95, Self::P99, Self::P999];
}

const MOST_NAMES: usize = 16;

// ===== impl Trouble =====

impl Trouble {
    fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken off",
            Self::GivenUp => "given up at the end",
        }
    }
}

// ===== impl Tally =====

impl Tally {
    pub(super) fn new(rate: u32) -> Self {
        // Microseconds, up to a minute, to three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that a histogram may have");
        Self {
            latency,
            by_status: BTreeMap::new(),
            by_trouble: BTreeMap::new(),
            partial: 0,
            lacking: BTreeMap::new(),
            due: 0,
            most_in_flight: 0,
            latest: Duration::ZERO,
            rate,
            took: Duration::ZERO,
        }
    }

    /// A request has left, this late, and with it so many are in flight.
    pub(super) fn sent(&mut self, late: Duration, in_flight: usize) {
        self.due += 1;
        self.latest = self.latest.max(late);
        self.most_in_flight = self.most_in_flight.max(in_flight);
    }

    /// One that was due so long ago does not leave any more.
    pub(super) fn not_sent(&mut self, trouble: Trouble, late: Duration, at: Duration) {
        self.due += 1;
        self.add(Outcome { result: Err(trouble), latency: late }, at);
    }

    /// One has come to its end, so long after the start.
    pub(super) fn add(&mut self, outcome: Outcome, at: Duration) {
        self.took = self.took.max(at);
        self.latency.saturating_record(u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX));
        match outcome.result {
            Ok(Answered { status, lacks }) => {
                *self.by_status.entry(status).or_default() += 1;
                self.partial += u64::from(lacks.is_some());
                lacks.into_iter().flatten().for_each(|name| self.lacks(name));
            }
            Err(trouble) => *self.by_trouble.entry(trouble).or_default() += 1,
        }
    }

    fn lacks(&mut self, name: String) {
        if self.lacking.len() < MOST_NAMES || self.lacking.contains_key(&name) {
            *self.lacking.entry(name).or_default() += 1;
        }
    }

    /// How many were answered, with whatever status.
    pub(crate) fn answered(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// How many were due.
    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// How many answers said that they lacked this source.
    pub(crate) fn lacking(&self, name: &str) -> u64 {
        self.lacking.get(name).copied().unwrap_or_default()
    }

    /// How many came to an end, answered or not.
    #[cfg(test)]
    pub(super) fn ended(&self) -> u64 {
        self.latency.len()
    }

    /// How many had this trouble.
    #[cfg(test)]
    pub(super) fn troubled(&self, trouble: Trouble) -> u64 {
        self.by_trouble.get(&trouble).copied().unwrap_or_default()
    }

    /// The share of those that took longer than this.
    #[cfg(test)]
    pub(super) fn share_over(&self, time: Duration) -> f64 {
        let micros = u64::try_from(time.as_micros()).expect("a short time");
        1. - self.latency.quantile_below(micros)
    }

    /// How many got what they came for.
    pub(crate) fn good(&self) -> u64 {
        self.by_status.iter().filter(|(status, _)| status.is_success()).map(|(_, count)| count).sum()
    }

    /// The share of those due that got what they came for.
    pub(crate) fn goodput(&self) -> f64 {
        self.good() as f64 / self.due.max(1) as f64
    }

    /// How many a second got what they came for: until the last one did, or until the next one would have been due.
    fn good_a_second(&self) -> f64 {
        let planned = self.due as f64 / f64::from(self.rate);
        match self.good() {
            0 => 0.,
            good => good as f64 / self.took.as_secs_f64().max(planned),
        }
    }

    /// How late a request left at worst.
    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }

    /// The latency that so many did not exceed.
    pub(crate) fn at(&self, percentile: Percentile) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(percentile.1))
    }

    /// The longest one.
    pub(super) fn max(&self) -> Duration {
        Duration::from_micros(self.latency.max())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_second = self.good_a_second();
        writeln!(f, "  {:<12}{:>9}", "due", self.due)?;
        writeln!(f, "  {:<12}{:>9}", "answered", self.answered())?;
        writeln!(
            f,
            "  {:<12}{:>9}    {:.1} %, {a_second:.1} a second",
            "of them 2xx",
            self.good(),
            100. * self.goodput()
        )?;
        for (status, count) in &self.by_status {
            write!(f, "  {:<12}{count:>9}", format!("status {}", status.as_str()))?;
            match self.partial {
                partial if *status == StatusCode::OK && partial > 0 => {
                    write!(f, "    of them partial: {partial}")?;
                    self.lacking.iter().try_for_each(|(name, count)| write!(f, ", {name} {count}"))?;
                    writeln!(f)?;
                }
                _ => writeln!(f)?,
            }
        }
        for (trouble, count) in &self.by_trouble {
            writeln!(f, "  {:<12}{count:>9}    {}", "no answer", trouble.as_str())?;
        }
        writeln!(f, "\n  latency, from when a request was due to its last byte")?;
        for percentile in Percentile::ALL {
            writeln!(f, "  {:<12}{:>9} ms", percentile.0, millis(self.at(percentile)))?;
        }
        writeln!(f, "  {:<12}{:>9} ms", "max", millis(self.max()))?;
        write!(
            f,
            "\n  at most {} in flight; a request left {} ms after it was due at worst",
            self.most_in_flight,
            millis(self.latest)
        )
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_shares_and_percentiles_of_all_that_were_sent() {
        let mut tally = Tally::new(100);
        for millis in 1..=1000 {
            tally.sent(Duration::from_millis(millis / 500), 7);
            let lacks = match millis {
                1..=30 => Some(vec!["orders".to_owned(), "users".to_owned()]),
                31..=90 => Some(vec!["orders".to_owned()]),
                _ => None,
            };
            let result = match millis {
                1..=900 => Ok(Answered { status: StatusCode::OK, lacks }),
                901..=950 => Ok(Answered { status: StatusCode::SERVICE_UNAVAILABLE, lacks }),
                951..=990 => Err(Trouble::Timeout),
                _ => Err(Trouble::GivenUp),
            };
            tally.add(Outcome { result, latency: Duration::from_millis(millis) }, Duration::from_millis(10 * millis));
        }
        for (percentile, expected) in [(Percentile::P50, 500.), (Percentile::P95, 950.), (Percentile::P999, 999.)] {
            let off = tally.at(percentile).as_secs_f64() * 1000. / expected;
            assert!((0.999..1.001).contains(&off), "{percentile:?}: {:?}", tally.at(percentile));
        }
        assert_eq!((tally.answered(), tally.good(), tally.ended(), tally.due()), (950, 900, 1000, 1000));
        let said: Vec<_> = tally.to_string().lines().map(str::trim).map(str::to_owned).collect();
        for line in [
            "of them 2xx       900    90.0 %, 90.0 a second",
            "status 200        900    of them partial: 90, orders 90, users 30",
            "status 503         50",
            "no answer          40    timeout",
            "no answer          10    given up at the end",
            "at most 7 in flight; a request left 2.0 ms after it was due at worst",
        ] {
            assert!(said.iter().any(|said| said == line), "{line:?}\n{tally}");
        }
    }

    #[test]
    fn a_run_that_is_late_tells_the_rate_that_it_had() {
        let mut tally = Tally::new(5000);
        for nth in 1..=5000 {
            tally.sent(Duration::from_millis(nth), 1);
            let (latency, at) = (Duration::from_millis(nth), Duration::from_millis(2 * nth));
            tally.add(Outcome { result: Ok(Answered { status: StatusCode::OK, lacks: None }), latency }, at);
        }
        assert!(tally.to_string().contains("100.0 %, 500.0 a second"), "{tally}");
    }

    #[test]
    fn a_server_cannot_fill_it_with_names() {
        let mut tally = Tally::new(100);
        for nth in 0..1000 {
            let lacks = Some(vec![nth.to_string(), "0".to_owned()]);
            tally.add(
                Outcome { result: Ok(Answered { status: StatusCode::OK, lacks }), latency: Duration::ZERO },
                Duration::ZERO,
            );
        }
        assert_eq!((tally.lacking.len(), tally.lacking("0")), (MOST_NAMES, 1001));
    }

    #[test]
    fn a_run_that_ends_before_it_begins_is_told_too() {
        let tally = Tally::new(100);
        assert_eq!((tally.answered(), tally.goodput()), (0, 0.));
        assert!(tally.to_string().contains("0.0 %"));
    }
}
