//! Heads that were just sent, to be sent again.
//!
//! What is stored is sent with an `Age` and a `Cache-Status` that change once a second. Where a response is asked for
//! more often than that, the head is the same as the last time.

use super::{entry::Entry, lanes::Lanes};
use http::{HeaderValue, Response, response};
use std::{
    iter,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// For each processor the heads that were sent twice within their second, of those that share a place.
pub(super) struct Ready(Lanes<Box<[Place]>>);

/// What a head is for: two requests with the same get the same head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) entry: &'a Arc<Entry>,
    /// What the cache calls itself.
    pub(super) name: Option<&'a Arc<str>>,
    /// The condition that does not hold, if it is a 304.
    pub(super) condition: Option<&'a HeaderValue>,
}

#[derive(Default)]
struct Place {
    /// Which answer came last, and until when the same head could have been sent again.
    last: Option<(usize, Instant)>,
    kept: Option<Kept>,
}

struct Kept {
    /// Not held: only so that no other is taken for it.
    entry: Weak<Entry>,
    name: Option<Arc<str>>,
    condition: Option<HeaderValue>,
    head: response::Parts,
    from: Instant,
    until: Instant,
}

const PLACES: usize = 32;
const MOST_FIELDS: usize = 32;
const MOST_BYTES: usize = 4 * 1024;
const LONGEST_CONDITION: usize = 256;
const SECOND: Duration = Duration::from_secs(1);

// ===== impl Ready =====

impl Ready {
    pub(super) fn new() -> Self {
        Self(Lanes::new(|| iter::repeat_with(Place::default).take(PLACES).collect()))
    }

    /// The head that is sent now, if it was sent lately.
    #[inline]
    pub(super) fn get(&self, answer: Answer<'_>, now: Instant) -> Option<response::Parts> {
        let lane = self.0.own()?;
        let kept = lane[answer.place()].kept.as_ref()?;
        (kept.from <= now && now < kept.until && kept.is_for(answer)).then(|| kept.head.clone())
    }

    /// A head has been made. It is kept if the same was made before and would be sent until `until`.
    pub(super) fn made<B>(&self, answer: Answer<'_>, response: &Response<B>, now: Instant, until: Instant) {
        let Some(mut lane) = self.0.own() else { return };
        let place = &mut lane[answer.place()];
        let is_again = place.last.is_some_and(|(id, until)| id == answer.id() && now < until);
        if is_again && answer.is_small() {
            place.kept = Some(Kept {
                entry: Arc::downgrade(answer.entry),
                name: answer.name.cloned(),
                condition: answer.condition.and_then(copy),
                head: head_of(response),
                from: now,
                until,
            });
        }
        place.last = Some((answer.id(), until));
    }
}

/// A value that lies by itself: one of a request is a piece of all that was read with it.
fn copy(value: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value.as_bytes()).ok()
}

/// Status and fields, which is all that a stored response has.
fn head_of<B>(response: &Response<B>) -> response::Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = response.status();
    head.headers = response.headers().clone();
    head
}

/// Until when a response is told to be as old, and to be fresh for as long, as now.
pub(super) fn same_until(now: Instant, age: Duration, lifetime: Duration) -> Instant {
    let older = SECOND.saturating_sub(Duration::from_nanos(age.subsec_nanos().into()));
    // In the moment when nothing is left of a second it is still that second.
    let left = Duration::from_nanos(lifetime.saturating_sub(age).subsec_nanos().into());
    now + older.min(left)
}

// ===== impl Answer =====

impl Answer<'_> {
    /// Larger ones are not worth their memory. All of what is stored counts, also for a 304, which has less of it: the values
    /// lie in one piece.
    fn is_small(self) -> bool {
        let fields = &self.entry.headers;
        let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        fields.len() <= MOST_FIELDS
            && bytes <= MOST_BYTES
            && self.condition.is_none_or(|condition| condition.len() <= LONGEST_CONDITION)
    }

    /// Which entry, and whether it is a 304: what is mostly another one for another answer.
    fn id(self) -> usize {
        Arc::as_ptr(self.entry).addr() | usize::from(self.condition.is_some())
    }

    fn place(self) -> usize {
        let id = self.id();
        (id >> 4 ^ id >> 10 ^ id << 3) % PLACES
    }
}

// ===== impl Kept =====

impl Kept {
    fn is_for(&self, answer: Answer<'_>) -> bool {
        let is_name = match (&self.name, answer.name) {
            (Some(kept), Some(name)) => Arc::ptr_eq(kept, name),
            (kept, name) => kept.is_none() && name.is_none(),
        };
        is_name && self.entry.as_ptr() == Arc::as_ptr(answer.entry) && self.condition.as_ref() == answer.condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::memory::tests::entry;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_head_is_the_same_until_its_age_or_what_is_left_is_another_number() {
        let now = Instant::now();
        let millis = Duration::from_millis;
        for (age, lifetime, same) in [
            (millis(0), MINUTE, 0),
            (millis(1), MINUTE, 999),
            (millis(300), MINUTE, 700),
            (millis(300), millis(60_500), 200),
            (millis(300), millis(60_900), 600),
            (millis(59_999), MINUTE, 1),
            (millis(60_000), MINUTE, 0),
        ] {
            assert_eq!(same_until(now, age, lifetime) - now, millis(same), "{age:?} of {lifetime:?}");
        }
    }

    #[test]
    fn what_is_large_is_not_kept() {
        let now = Instant::now();
        let is_kept = |entry: &Arc<Entry>, condition: &HeaderValue| {
            let ready = Ready::new();
            let answer = Answer { entry, name: None, condition: Some(condition) };
            for _ in 0..2 {
                ready.made(answer, &Response::new(()), now, now + SECOND);
            }
            ready.get(answer, now).is_some()
        };
        let tag = |length: usize| HeaderValue::try_from("x".repeat(length)).unwrap();
        let small = Arc::new(entry("de", "1"));
        assert!(is_kept(&small, &tag(LONGEST_CONDITION)) && !is_kept(&small, &tag(LONGEST_CONDITION + 1)));
        // Of which a 304 has only a part.
        let mut large = entry("de", "1");
        large.headers.insert("content-security-policy", tag(MOST_BYTES));
        assert!(!is_kept(&Arc::new(large), &tag(1)));
    }
}
