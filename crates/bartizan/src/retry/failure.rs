//! What an error of the service says about the request.

use std::{any::Any, convert::Infallible, error::Error, io, sync::Arc};

/// What is known of a request whose attempt failed with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It is certain that the service has not processed it: no connection was made, or the request was turned back
    /// unread. It may be sent again whatever its method.
    Unprocessed,
    /// The service may have processed it: the connection broke, or nothing came in time.
    Ambiguous,
    /// It would fail again: it is not sent again.
    Final,
}

/// Tells what an error of the type `E` says about the request.
///
/// [`Causes`] is the usual one. A function is one too, for an error type of your own:
///
/// ```
/// use bartizan::retry::{Failure, RetryLayer, RetryPolicy};
///
/// enum CallError { NotConnected, Broken }
///
/// let layer = RetryLayer::new(RetryPolicy::attempts(3)).errors_by(|error: &CallError| match error {
///     CallError::NotConnected => Failure::Unprocessed,
///     CallError::Broken => Failure::Ambiguous,
/// });
/// ```
pub trait Classify<E> {
    /// What `error` says about the request.
    fn failure(&self, error: &E) -> Failure;
}

/// Reads an error and all that stands behind it, by [`source`](Error::source), until something in it is known.
///
/// It sees into `io::Error` and boxed errors; a refused connection proves that nothing was processed. What else it
/// knows is up to the function in it, which is asked about each error of the chain: the one for hyper's client stands
/// in `bartizan::bridge::hyper_util`. An error that nothing is known of is [`Ambiguous`](Failure::Ambiguous).
#[derive(Clone, Copy, Debug)]
pub struct Causes {
    knows: fn(&(dyn Error + 'static)) -> Option<Failure>,
}

// ===== impl Failure =====

impl Failure {
    /// What an error and its causes say: the first of them that is known decides.
    pub fn of(error: &(dyn Error + 'static), knows: impl Fn(&(dyn Error + 'static)) -> Option<Self>) -> Self {
        // A chain that leads back to itself is no reason to hang.
        const DEPTH: usize = 32;
        std::iter::successors(Some(error), |&error| error.source())
            .take(DEPTH)
            .find_map(|error| knows(error).or_else(|| of_io(error)))
            .unwrap_or(Self::Ambiguous)
    }
}

/// A connection that was refused was none, and an address that nothing answers to had none either.
fn of_io(error: &(dyn Error + 'static)) -> Option<Failure> {
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable => Some(Failure::Unprocessed),
        _ => None,
    }
}

// ===== impl Causes =====

impl Causes {
    /// Knows the errors of the standard library.
    #[must_use]
    pub const fn new() -> Self {
        Self { knows: |_| None }
    }

    /// Knows what this function knows besides. It is asked first, about each error of the chain.
    #[must_use]
    pub const fn knowing(knows: fn(&(dyn Error + 'static)) -> Option<Failure>) -> Self {
        Self { knows }
    }

    /// What this error and its causes say.
    #[must_use]
    pub fn read(&self, error: &(dyn Error + 'static)) -> Failure {
        Failure::of(error, self.knows)
    }
}

impl Default for Causes {
    fn default() -> Self {
        Self::new()
    }
}

/// For every type, so that the usual service needs no word about it. A type that is none of those is ambiguous.
impl<E: 'static> Classify<E> for Causes {
    fn failure(&self, error: &E) -> Failure {
        as_error(error).map_or(Failure::Ambiguous, |error| self.read(error))
    }
}

impl<E, F: Fn(&E) -> Failure> Classify<E> for F {
    fn failure(&self, error: &E) -> Failure {
        self(error)
    }
}

/// The types that services fail with, seen through.
fn as_error(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return Some(&**error);
    }
    error.downcast_ref::<io::Error>().map(|error| error as _)
}

/// Whether a service of this error type can fail at all.
pub(super) fn can_fail<E: 'static>() -> bool {
    std::any::TypeId::of::<E>() != std::any::TypeId::of::<Infallible>()
}
