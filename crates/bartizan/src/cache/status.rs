//! `Cache-Status` (RFC 9211): how a cache came by an answer.

use super::event::{Forward, Outcome};
use http::{HeaderMap, HeaderValue, header};

/// What a cache says of one answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) outcome: Outcome,
    /// What is left of its freshness in seconds; below zero for how long it has been stale.
    pub(super) ttl: Option<i64>,
    /// Whether the answer is being stored.
    pub(super) stored: bool,
    /// Whether it waited for the answer to another, beside what its outcome says.
    pub(super) collapsed: bool,
    /// The status with which the origin answered, if the client gets another one.
    pub(super) fwd_status: Option<u16>,
    pub(super) detail: Option<&'static str>,
}

/// Text of a field, written in place.
struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

const LONGEST: usize = 200;

// ===== impl Status =====

impl Status {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, ttl: None, stored: false, collapsed: false, fwd_status: None, detail: None }
    }

    /// Adds what this cache says after what those further in have said (RFC 9211 §2).
    pub(super) fn add(self, headers: &mut HeaderMap, name: &str) {
        if let Some(value) = self.value(name) {
            headers.append(header::CACHE_STATUS, value);
        }
    }

    /// Puts `Age` and what this cache says where a stored head has a place for them: the last lines of these names.
    ///
    /// Both places are found in one pass: this is done for each hit.
    pub(super) fn fill_in(self, headers: &mut HeaderMap, name: Option<&str>, age: u64) {
        let age = HeaderValue::from_bytes(itoa::Buffer::new().format(age).as_bytes()).ok();
        let status = name.and_then(|name| self.value(name));
        if status.is_none() {
            take_away_place(headers);
        }
        let (mut age_place, mut status_place) = (None, None);
        for (name, value) in headers.iter_mut() {
            if *name == header::AGE {
                age_place = Some(value);
            } else if *name == header::CACHE_STATUS {
                status_place = Some(value);
            }
        }
        let age = put(age_place, age);
        let status = put(status_place, status);
        if let Some(age) = age {
            headers.insert(header::AGE, age);
        }
        if let Some(status) = status {
            headers.insert(header::CACHE_STATUS, status);
        }
    }

    fn value(self, name: &str) -> Option<HeaderValue> {
        let mut line = Line::new();
        self.write(&mut line, name)?;
        HeaderValue::from_bytes(line.as_bytes()).ok()
    }

    /// `None` if it is too long to say.
    fn write(self, out: &mut Line, name: &str) -> Option<()> {
        out.text(name)?;
        match self.outcome {
            Outcome::Hit | Outcome::StaleWhileRevalidate | Outcome::Asked => out.text("; hit")?,
            Outcome::Refused => {}
            Outcome::Collapsed(fwd)
            | Outcome::StaleIfError(fwd)
            | Outcome::Revalidated(fwd)
            | Outcome::Forwarded(fwd) => {
                out.text("; fwd=")?;
                out.text(fwd.as_str())?;
            }
        }
        if self.collapsed || matches!(self.outcome, Outcome::Collapsed(_)) {
            out.text("; collapsed")?;
        }
        if let Some(status) = self.fwd_status {
            out.text("; fwd-status=")?;
            out.number(status)?;
        }
        if self.stored {
            out.text("; stored")?;
        }
        if let Some(ttl) = self.ttl {
            out.text("; ttl=")?;
            out.number(ttl)?;
        }
        if let Some(detail) = self.detail {
            out.text("; detail=")?;
            out.text(detail)?;
        }
        Some(())
    }
}

/// Writes into a place; gives the value back if there is none.
fn put(place: Option<&mut HeaderValue>, value: Option<HeaderValue>) -> Option<HeaderValue> {
    match (place, value) {
        (Some(place), Some(value)) => {
            *place = value;
            None
        }
        (_, value) => value,
    }
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

// ===== impl Line =====

impl Line {
    fn new() -> Self {
        Self { bytes: [0; LONGEST], length: 0 }
    }

    #[inline]
    fn text(&mut self, text: &str) -> Option<()> {
        let room = self.bytes.get_mut(self.length..self.length + text.len())?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Some(())
    }

    fn number(&mut self, number: impl itoa::Integer) -> Option<()> {
        self.text(itoa::Buffer::new().format(number))
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
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
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}
