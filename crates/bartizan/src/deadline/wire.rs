//! How the time that is left looks on the wire: always as a length of time, so that no two clocks have to agree.

use crate::shared::is_grpc;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// The field of gRPC: up to eight digits and a unit.
pub(super) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What the sender of a head tells of the time that it still waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Of all lines of both fields the shortest.
    pub(super) time: Option<Duration>,
    /// Whether a line is no length of time. The others count all the same.
    pub(super) is_malformed: bool,
}

/// The units of gRPC, finest first: nanoseconds in each.
const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 60 * 60 * 1_000_000_000),
];

const MOST_DIGITS_OF_GRPC: usize = 8;
/// As in the Connect protocol: a hundred days, which is longer than anybody waits.
const MOST_DIGITS_OF_MILLIS: usize = 10;

/// What the sender of this head tells, in whichever of the two fields.
pub(super) fn read(fields: &HeaderMap, millis: &HeaderName) -> Told {
    let grpc = fields.get_all(GRPC_TIMEOUT).iter().map(from_grpc);
    let millis = fields.get_all(millis).iter().map(from_millis);
    grpc.chain(millis).fold(Told::default(), |told, line| match line {
        Some(time) => Told { time: Some(told.time.map_or(time, |shortest| shortest.min(time))), ..told },
        None => Told { is_malformed: true, ..told },
    })
}

/// Takes both fields away, whoever wrote them.
pub(super) fn clear(fields: &mut HeaderMap, millis: &HeaderName) {
    fields.remove(GRPC_TIMEOUT);
    fields.remove(millis);
}

/// Tells the receiver how long the sender waits, in the field that it reads, and nothing else: what stood there may be a
/// stranger's, and the other field might contradict.
pub(super) fn write(fields: &mut HeaderMap, millis: &HeaderName, left: Duration) {
    if is_grpc(fields) {
        fields.remove(millis);
        fields.insert(GRPC_TIMEOUT, to_grpc(left));
    } else {
        fields.remove(GRPC_TIMEOUT);
        fields.insert(millis, to_millis(left));
    }
}

pub(super) fn from_grpc(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    let count = number(digits, MOST_DIGITS_OF_GRPC)?;
    Some(Duration::from_nanos_u128(u128::from(count) * nanos))
}

/// In the finest unit that has room for it, rounded down.
pub(super) fn to_grpc(time: Duration) -> HeaderValue {
    let nanos = time.as_nanos();
    let fits = |&&(_, unit): &&(u8, u128)| nanos / unit < 10u128.pow(8);
    // What does not even fit in hours (eleven thousand years) is told as the most that does.
    let &(letter, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[UNITS.len() - 1]);
    let count = (nanos / unit).min(99_999_999);
    HeaderValue::try_from(format!("{count}{}", char::from(letter))).expect("digits and a letter")
}

pub(super) fn from_millis(value: &HeaderValue) -> Option<Duration> {
    number(value.as_bytes(), MOST_DIGITS_OF_MILLIS).map(Duration::from_millis)
}

/// In whole milliseconds, rounded down.
pub(super) fn to_millis(time: Duration) -> HeaderValue {
    const MOST: u64 = 9_999_999_999;
    HeaderValue::from(u64::try_from(time.as_millis()).unwrap_or(MOST).min(MOST))
}

/// A number of one to `most` digits, and nothing else: no sign, no space.
fn number(digits: &[u8], most: usize) -> Option<u64> {
    let is_number = (1..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| 10 * number + u64::from(digit - b'0')))
}
