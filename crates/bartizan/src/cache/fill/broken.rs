//! Why a body that was being stored has no end.

use std::{error, fmt, sync::Arc};

/// Why a response's body came to no end.
///
/// What the origin's body has failed with is its [`source`](error::Error::source).
#[derive(Clone, Debug)]
pub struct BrokenOff {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Origin(Arc<dyn error::Error + Send + Sync>),
    TooShort,
    TooLong,
    TooSlow,
    LetGo,
}

// ===== impl BrokenOff =====

impl BrokenOff {
    pub(super) const TOO_SHORT: Self = Self { kind: Kind::TooShort };
    pub(super) const TOO_LONG: Self = Self { kind: Kind::TooLong };
    /// Others would have waited for this reader.
    pub(super) const TOO_SLOW: Self = Self { kind: Kind::TooSlow };
    /// All who read it have left, or it panicked.
    pub(super) const LET_GO: Self = Self { kind: Kind::LetGo };

    pub(super) fn origin(error: Box<dyn error::Error + Send + Sync>) -> Self {
        Self { kind: Kind::Origin(Arc::from(error)) }
    }

    /// What came before may not have been what it seemed.
    pub(super) fn is_of_framing(&self) -> bool {
        matches!(self.kind, Kind::TooLong)
    }
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Origin(_) => "the response's body broke off",
            Kind::TooShort => "the response's body is shorter than announced",
            Kind::TooLong => "the response's body is longer than announced",
            Kind::TooSlow => "the response's body was read too slowly while others waited",
            Kind::LetGo => "the response's body was let go",
        })
    }
}

impl error::Error for BrokenOff {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            Kind::Origin(error) => Some(&**error),
            Kind::TooShort | Kind::TooLong | Kind::TooSlow | Kind::LetGo => None,
        }
    }
}
