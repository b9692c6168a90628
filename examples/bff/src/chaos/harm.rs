//! What goes wrong with a service: as it is said on the command line, and over HTTP.

use bartizan::fault::Fault;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU32, time::Duration};

/// What is to go wrong with a service. Nothing is required but that there is something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Harm {
    /// Answers come this much later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<u64>,
    /// With this, by any time from `latency_ms` to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_max_ms: Option<u64>,
    /// The share of requests that are answered with `status`, from 0 to 1. All, if only a status is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<f64>,
    /// 503, if only a rate is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The share of requests whose connection breaks instead of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reset_rate: Option<f64>,
    /// Bodies break off after so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) truncate_bytes: Option<u64>,
    /// Bodies come at so many bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_second: Option<u32>,
    /// It heals by itself after this time. Without it, when it is healed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) for_ms: Option<u64>,
}

// ===== impl Harm =====

impl Harm {
    /// The longest that an answer may be held back, or a fault last.
    pub(crate) const MAX: Duration = Duration::from_secs(3600);

    /// The faults that it means.
    ///
    /// # Errors
    /// If a value makes no sense, or nothing would go wrong.
    pub(crate) fn faults(&self) -> Result<Vec<Fault>, String> {
        let lasting = self.for_ms.map(|millis| time("the time until it heals", millis)).transpose()?;
        let mut faults = Vec::new();
        match (self.latency_ms, self.latency_max_ms) {
            (None, None) => {}
            (None, Some(_)) => return Err("a longest latency needs a shortest one".to_owned()),
            (Some(least), most) => {
                let (least, most) = (time("the latency", least)?, time("the latency", most.unwrap_or(least))?);
                if most < least {
                    return Err(format!("a latency from {least:?} to {most:?} is none: the shorter one goes first"));
                }
                faults.push(Fault::latency(least..=most));
            }
        }
        if self.error_rate.is_some() || self.status.is_some() {
            let status = self.status.unwrap_or(503);
            let status = StatusCode::from_u16(status).ok().filter(|status| (200..600).contains(&status.as_u16()));
            let status = status.ok_or("a status is a number from 200 to 599")?;
            faults.push(Fault::status(status).share(rate(self.error_rate.unwrap_or(1.))?));
        }
        if let Some(share) = self.reset_rate {
            faults.push(Fault::reset().share(rate(share)?));
        }
        if let Some(after) = self.truncate_bytes {
            faults.push(Fault::truncated(after));
        }
        if let Some(bytes) = self.bytes_per_second {
            faults.push(Fault::bandwidth(NonZeroU32::new(bytes).ok_or("one byte a second is the least")?));
        }
        if faults.is_empty() {
            return Err("nothing would go wrong: say what, such as --latency 800ms or --error-rate 0.7".to_owned());
        }
        Ok(match lasting {
            Some(time) => faults.into_iter().map(|fault| fault.lasting(time)).collect(),
            None => faults,
        })
    }
}

fn time(what: &str, millis: u64) -> Result<Duration, String> {
    let time = Duration::from_millis(millis);
    if time > Harm::MAX { Err(format!("{what} is an hour at most")) } else { Ok(time) }
}

fn rate(share: f64) -> Result<f64, String> {
    let fits = (0. ..=1.).contains(&share);
    if fits { Ok(share) } else { Err(format!("a rate is a number from 0 to 1, not {share}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(harm: &Harm) -> Vec<String> {
        harm.faults().expect("faults").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_word_is_a_fault() {
        let harm = Harm {
            latency_ms: Some(200),
            latency_max_ms: Some(800),
            error_rate: Some(0.7),
            reset_rate: Some(0.1),
            truncate_bytes: Some(100),
            bytes_per_second: Some(1_000),
            ..Harm::default()
        };
        assert_eq!(
            said(&harm),
            [
                "latency 200ms to 800ms",
                "status 503, 70 % of requests",
                "reset, 10 % of requests",
                "truncated after 100 bytes",
                "bandwidth 1000 bytes per second"
            ]
        );
        assert_eq!(said(&Harm { status: Some(500), ..Harm::default() }), ["status 500"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_sentence() {
        let none = Harm::default();
        for (harm, says) in [
            (none.clone(), "nothing would go wrong"),
            (Harm { for_ms: Some(10), ..none.clone() }, "nothing would go wrong"),
            (Harm { error_rate: Some(1.5), ..none.clone() }, "from 0 to 1"),
            (Harm { error_rate: Some(f64::NAN), ..none.clone() }, "from 0 to 1"),
            (Harm { reset_rate: Some(-0.1), ..none.clone() }, "from 0 to 1"),
            (Harm { status: Some(101), ..none.clone() }, "from 200 to 599"),
            (Harm { bytes_per_second: Some(0), ..none.clone() }, "the least"),
            (Harm { latency_max_ms: Some(1), ..none.clone() }, "needs a shortest"),
            (Harm { latency_ms: Some(2), latency_max_ms: Some(1), ..none.clone() }, "goes first"),
            (Harm { latency_ms: Some(u64::MAX), ..none.clone() }, "an hour at most"),
            (Harm { latency_ms: Some(1), for_ms: Some(u64::MAX), ..none }, "an hour at most"),
        ] {
            let refused = harm.faults().expect_err("it is none");
            assert!(refused.contains(says), "{refused}");
        }
    }
}
