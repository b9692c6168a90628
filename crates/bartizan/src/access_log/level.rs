//! How loud a line is.

/// The level of a line, as in `tracing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something broke.
    Error,
    /// Something is off.
    Warn,
    /// As it should be.
    Info,
    /// For whoever looks closer.
    Debug,
    /// For whoever looks closest.
    Trace,
}

/// How a request went, by its status and by its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A status below 400, and all of the body was sent.
    Success,
    /// A status from 400 to 499, or the client went away before the last byte.
    ClientError,
    /// A status of 500 and above, or the service or the body failed.
    ServerError,
}

/// The level of each class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    success: Level,
    client_error: Level,
    server_error: Level,
}

// ===== impl Level =====

impl Level {
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

// ===== impl Levels =====

impl Levels {
    pub(super) const DEFAULT: Self =
        Self { success: Level::Info, client_error: Level::Warn, server_error: Level::Error };

    pub(super) fn set(&mut self, class: Class, level: Level) {
        match class {
            Class::Success => self.success = level,
            Class::ClientError => self.client_error = level,
            Class::ServerError => self.server_error = level,
        }
    }

    pub(super) fn of(self, class: Class) -> Level {
        match class {
            Class::Success => self.success,
            Class::ClientError => self.client_error,
            Class::ServerError => self.server_error,
        }
    }

    /// The level that passes where any of the three does.
    pub(super) fn loudest(self) -> Level {
        self.success.min(self.client_error).min(self.server_error)
    }
}
