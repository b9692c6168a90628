//! `Cache-Status` (RFC 9211): how a cache came by an answer.

use super::event::{Forward, Outcome};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt::{self, Write};

/// What a cache says of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) outcome: Outcome,
    /// What is left of its freshness in seconds; below zero for how long it has been stale.
    pub(super) ttl: Option<i64>,
    /// Whether the answer is being stored.
    pub(super) stored: bool,
    /// The status with which the origin answered, if the client gets another one.
    pub(super) fwd_status: Option<u16>,
    pub(super) detail: Option<&'static str>,
}

/// Text of a field, written in place.
struct Line {
    bytes: [u8; LONGEST],
    len: usize,
}

const LONGEST: usize = 200;

// ===== impl Status =====

impl Status {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, ttl: None, stored: false, fwd_status: None, detail: None }
    }

    pub(super) fn ttl(self, ttl: i64) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    pub(super) fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Adds what this cache says after what those further in have said (RFC 9211 §2).
    pub(super) fn add(self, headers: &mut HeaderMap, name: &str) {
        let mut line = Line::new();
        if self.write(&mut line, name).is_ok()
            && let Some(value) = line.into_value()
        {
            headers.append(header::CACHE_STATUS, value);
        }
    }

    /// Puts `Age` and what this cache says where a stored head has a place for them.
    ///
    /// Both values share one allocation: this is done for each hit.
    pub(super) fn fill_in(self, headers: &mut HeaderMap, name: Option<&str>, age: u64) {
        let mut line = Line::new();
        let written = write!(line, "{age}").is_ok();
        let split = line.len;
        let told = name.is_some_and(|name| self.write(&mut line, name).is_ok());
        let bytes = line.into_bytes();
        if let Some(value) = value_of(bytes.slice(..split)).filter(|_| written) {
            place(headers, header::AGE, value);
        }
        match value_of(bytes.slice(split..)).filter(|_| told) {
            Some(value) => place(headers, header::CACHE_STATUS, value),
            None => take_away_place(headers),
        }
    }

    fn write(self, out: &mut Line, name: &str) -> fmt::Result {
        out.write_str(name)?;
        match self.outcome {
            Outcome::Hit | Outcome::StaleWhileRevalidate | Outcome::Asked => out.write_str("; hit")?,
            Outcome::Refused => {}
            Outcome::Collapsed(fwd) => write!(out, "; fwd={}; collapsed", fwd.as_str())?,
            Outcome::StaleIfError(fwd) | Outcome::Revalidated(fwd) | Outcome::Forwarded(fwd) => {
                write!(out, "; fwd={}", fwd.as_str())?;
            }
        }
        if let Some(status) = self.fwd_status {
            write!(out, "; fwd-status={status}")?;
        }
        if self.stored {
            out.write_str("; stored")?;
        }
        if let Some(ttl) = self.ttl {
            write!(out, "; ttl={ttl}")?;
        }
        if let Some(detail) = self.detail {
            write!(out, "; detail={detail}")?;
        }
        Ok(())
    }
}

/// Writes into the place that a stored head has for this: the last line of the name.
fn place(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if headers.len() == headers.keys_len() {
        if let Some(place) = headers.get_mut(&name) {
            *place = value;
            return;
        }
    } else if let header::Entry::Occupied(mut lines) = headers.entry(&name) {
        if let Some(place) = lines.iter_mut().last() {
            *place = value;
        }
        return;
    }
    headers.insert(name, value);
}

/// Where nothing is told, the lines of other caches stay.
#[cold]
fn take_away_place(headers: &mut HeaderMap) {
    let others: Vec<_> =
        headers.get_all(header::CACHE_STATUS).iter().filter(|line| !line.is_empty()).cloned().collect();
    headers.remove(header::CACHE_STATUS);
    for line in others {
        headers.append(header::CACHE_STATUS, line);
    }
}

fn value_of(bytes: Bytes) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes).ok()
}

// ===== impl Line =====

impl Line {
    fn new() -> Self {
        Self { bytes: [0; LONGEST], len: 0 }
    }

    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes[..self.len])
    }

    fn into_value(self) -> Option<HeaderValue> {
        value_of(self.into_bytes())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

impl Forward {
    /// RFC 9211 §2.2.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}
