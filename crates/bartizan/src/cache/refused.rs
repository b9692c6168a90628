//! Why a response that was to be stored was not.

/// Why a response that may be stored is not stored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// With its head and its tags it is larger than what is stored.
    TooLarge,
    /// It was purged since the origin was asked for it.
    Purged,
    /// What is stored already is more recent, or is more of the same.
    Superseded,
    /// It is not the part that it says it is.
    Part,
}

// ===== impl Refused =====

impl Refused {
    /// A word as in the `detail` of `Cache-Status`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Purged => "purged",
            Self::Superseded => "superseded",
            Self::Part => "part",
        }
    }
}
