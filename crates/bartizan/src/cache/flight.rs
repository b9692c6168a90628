//! One request to the origin, however many wait.
