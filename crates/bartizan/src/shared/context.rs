//! What the layers of one request tell each other: its id, and what the inner ones want logged.

use http::{Extensions, HeaderValue};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The one extension that several layers write. One, so that a request pays for one allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    pub(crate) id: Option<RequestId>,
    pub(crate) notes: Option<Notes>,
}

/// The id of a request: printable ASCII, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

/// Where an inner layer, a handler or a gateway leaves what the access log further out should tell.
///
/// It is there only while somebody reads the log, so a note costs nothing otherwise. Notes outlive the request's
/// future: what was noted before the client left is logged.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// What has been noted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) error_type: Option<&'static str>,
    pub(crate) flags: u16,
}

/// What happened to a request, in two letters, in the manner of Envoy's response flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum Flag {
    /// `UT`: an upstream did not answer in time.
    UpstreamTimeout = 1,
    /// `UF`: no connection to an upstream.
    UpstreamConnectFailure = 1 << 1,
    /// `UO`: the circuit breaker was open, or the upstream overloaded.
    UpstreamOverflow = 1 << 2,
    /// `UR`: an upstream reset the connection.
    UpstreamReset = 1 << 3,
    /// `RL`: refused by a rate limit.
    RateLimited = 1 << 4,
    /// `DC`: the client went away before the last byte.
    ClientGone = 1 << 5,
    /// `SI`: a stale response was served.
    StaleServed = 1 << 6,
    /// `PA`: the answer is partial.
    Partial = 1 << 7,
    /// `NR`: no route matched.
    NoRoute = 1 << 8,
    /// `DL`: the request's deadline passed.
    DeadlinePassed = 1 << 9,
}

// ===== impl Context =====

impl Context {
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Self>()
    }

    pub(crate) fn of_mut(extensions: &mut Extensions) -> &mut Self {
        extensions.get_or_insert_default()
    }
}

// ===== impl RequestId =====

impl RequestId {
    /// The id of the request with these extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        Context::of(extensions)?.id.as_ref()
    }

    /// Takes a value that is a valid request id: 1 to 128 bytes of `A-Z a-z 0-9 . _ ~ + / = : @ -`.
    #[must_use]
    pub fn new(value: HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let valid = (1..=128).contains(&bytes.len()) && bytes.iter().copied().all(is_id_byte);
        valid.then_some(Self(value))
    }

    /// Takes a value that its maker knows to be valid.
    pub(crate) fn known_valid(value: HeaderValue) -> Self {
        debug_assert!(value.as_bytes().iter().copied().all(is_id_byte), "not a request id: {value:?}");
        Self(value)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default() // an id is ASCII
    }

    /// The id as the value of a field; a clone shares its bytes.
    #[must_use]
    pub fn as_header_value(&self) -> &HeaderValue {
        &self.0
    }

    pub(crate) fn into_header_value(self) -> HeaderValue {
        self.0
    }
}

const fn is_id_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'@' | b'-')
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

// ===== impl Notes =====

impl Notes {
    /// The notes of the request with these extensions, if somebody reads them.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        Context::of(extensions)?.notes.as_ref()
    }

    /// From here on the request is nobody's, and what happens to it is in nobody's log.
    pub(crate) fn leave(extensions: &mut Extensions) {
        if let Some(context) = extensions.get_mut::<Context>() {
            context.notes = None;
        }
    }

    /// Notes the tenant for whom the request is.
    pub fn tenant(&self, id: impl Into<Arc<str>>) {
        self.lock().tenant = Some(id.into());
    }

    /// Notes the user who sent the request.
    pub fn user(&self, id: impl Into<Arc<str>>) {
        self.lock().user = Some(id.into());
    }

    /// Notes the template of the route that matched, such as `/users/{id}`.
    pub fn route(&self, template: impl Into<Arc<str>>) {
        self.lock().route = Some(template.into());
    }

    /// Notes what kind of error the request met: a value of `error.type`, from a small set.
    pub fn error_type(&self, error_type: &'static str) {
        self.lock().error_type = Some(error_type);
    }

    /// Notes what happened to the request.
    pub fn flag(&self, flag: Flag) {
        self.lock().flags |= flag as u16;
    }

    /// Empties the notes for another request, and tells what was in them; `None` if somebody else still holds them.
    pub(crate) fn recycle(&mut self) -> Option<Noted> {
        Arc::get_mut(&mut self.0).map(|noted| mem::take(noted.get_mut().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What has been noted so far. Held for a few lines; nothing is left half-written in it, so a panic does no harm.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Flag =====

impl Flag {
    /// Every flag, in the order in which a log names them.
    pub const ALL: [Self; 10] = [
        Self::UpstreamTimeout,
        Self::UpstreamConnectFailure,
        Self::UpstreamOverflow,
        Self::UpstreamReset,
        Self::RateLimited,
        Self::ClientGone,
        Self::StaleServed,
        Self::Partial,
        Self::NoRoute,
        Self::DeadlinePassed,
    ];

    /// The two letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpstreamTimeout => "UT",
            Self::UpstreamConnectFailure => "UF",
            Self::UpstreamOverflow => "UO",
            Self::UpstreamReset => "UR",
            Self::RateLimited => "RL",
            Self::ClientGone => "DC",
            Self::StaleServed => "SI",
            Self::Partial => "PA",
            Self::NoRoute => "NR",
            Self::DeadlinePassed => "DL",
        }
    }
}
