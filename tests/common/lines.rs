//! An access log's lines, in memory.

use std::{
    io,
    sync::{Arc, Mutex},
};

/// A writer that keeps what is written; a clone shares it.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes the lines that were written since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        let written = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
