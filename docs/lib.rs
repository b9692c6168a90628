//! The book and the README as doctests.
