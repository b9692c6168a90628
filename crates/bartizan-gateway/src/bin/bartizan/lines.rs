//! Lines that a thread of its own writes, so that no request waits for whoever reads them.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::time::Instant;

/// Takes lines, and forgets those that come when too much waits already. Clones are written by the same thread.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Whether nothing is told of what is lost.
    is_quiet: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    is_writing: bool,
    /// How many lines were forgotten since that was told.
    lost: usize,
    told: Option<Instant>,
}

/// In bytes, since a line is as long as a client makes its path: thousands of usual ones.
const MOST: usize = 8 << 20;
/// So much memory is kept for those that come next.
const USUAL: usize = 64 << 10;
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

// ===== impl Lines =====

impl Lines {
    /// Starts the thread, which ends with the program, and warns of the lines of the access log that are lost.
    pub(crate) fn to(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::over(Queue::default(), writer)
    }

    /// The same for warnings, since that nobody reads them is not to be told to the same nobody.
    pub(crate) fn quietly_to(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::over(Queue { is_quiet: true, ..Queue::default() }, writer)
    }

    fn over(queue: Queue, writer: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(queue);
        let written = Arc::clone(&queue);
        thread::Builder::new().name("lines".to_owned()).spawn(move || written.write_to(writer))?;
        Ok(Self { queue })
    }

    /// Waits until all lines are written, and no longer than this.
    pub(crate) fn finish(&self, limit: Duration) {
        let is_left = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let waited = self.queue.changed.wait_timeout_while(self.queue.lock(), limit, is_left);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let lost = mem::take(&mut state.lost) + state.waiting.iter().filter(|byte| **byte == b'\n').count();
        drop(state);
        if lost > 0 && !self.queue.is_quiet {
            warn_that_nobody_reads(lost);
        }
    }
}

impl Write for Lines {
    /// Takes whole lines alone, as `write_all` hands them over.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.queue.lock();
        if state.waiting.len() + lines.len() <= MOST {
            let is_first = state.waiting.is_empty();
            state.waiting.extend_from_slice(lines);
            drop(state);
            if is_first {
                self.queue.changed.notify_all();
            }
            return Ok(lines.len());
        }
        state.lost += 1;
        if !self.queue.is_quiet && state.told.is_none_or(|told| told.elapsed() >= BETWEEN_WARNINGS) {
            state.told = Some(Instant::now());
            let lost = mem::take(&mut state.lost);
            drop(state);
            warn_that_nobody_reads(lost);
        }
        Ok(lines.len())
    }

    /// What is written is flushed when nothing more waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// ===== impl Queue =====

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut writer: impl Write) {
        let (mut lines, mut is_told) = (Vec::new(), self.is_quiet);
        loop {
            let is_idle = |state: &mut State| state.waiting.is_empty();
            let mut state = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut state.waiting, &mut lines);
            state.is_writing = true;
            drop(state);
            if let Err(error) = writer.write_all(&lines).and_then(|()| writer.flush())
                && !mem::replace(&mut is_told, true)
            {
                tracing::warn!(%error, "lines of the access log could not be written; this is told once");
            }
            if lines.capacity() > USUAL {
                lines = Vec::new();
            } else {
                lines.clear();
            }
            let mut state = self.lock();
            // Who has caught up is told the rest of what was lost.
            let lost = if state.waiting.is_empty() { mem::take(&mut state.lost) } else { 0 };
            drop(state);
            if lost > 0 && !self.is_quiet {
                warn_that_nobody_reads(lost);
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

fn warn_that_nobody_reads(lost: usize) {
    tracing::warn!(lost, "lines of the access log are lost: whoever reads them does not keep up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A pipe that is read when the test does so.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn piped() -> (Lines, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::sync_channel(0);
        (Lines::to(Pipe(sender)).unwrap(), receiver)
    }

    #[test]
    fn lines_are_written_in_their_order_and_all_of_them_by_the_end() {
        let (mut lines, pipe) = piped();
        let reader =
            thread::spawn(move || pipe.iter().take_while(|bytes| bytes != b"end").collect::<Vec<_>>().concat());
        let said: Vec<String> = (0..1_000).map(|number| format!("{number}\n")).collect();
        for line in &said {
            lines.write_all(line.as_bytes()).unwrap();
        }
        lines.finish(Duration::from_secs(10));
        let state = lines.queue.lock();
        assert!(state.waiting.is_empty() && !state.is_writing && state.lost == 0);
        drop(state);
        lines.write_all(b"end").unwrap();
        assert_eq!(reader.join().unwrap(), said.concat().into_bytes());
    }

    #[test]
    fn who_does_not_read_loses_lines_and_holds_up_nobody() {
        let (mut lines, pipe) = piped();
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        lines.write_all(&line).unwrap();
        while !lines.queue.lock().is_writing {
            thread::yield_now();
        }
        for _ in 0..4 * MOST / line.len() {
            lines.write_all(&line).unwrap();
        }
        lines.finish(Duration::from_millis(10));
        let held = lines.queue.lock().waiting.len();
        assert!(held <= MOST, "{held}");
        // What was not lost is whole.
        let first = pipe.recv().unwrap();
        let second = pipe.recv().unwrap();
        assert_eq!(second.len(), held);
        assert!([first, second].concat().chunks(line.len()).all(|read| read == line));
    }

    #[test]
    fn the_loss_is_told_once_a_minute_with_how_much_it_is() {
        let (mut lines, _pipe) = piped();
        let full = vec![b'\n'; MOST];
        lines.write_all(&full).unwrap();
        while !lines.queue.lock().is_writing {
            thread::yield_now();
        }
        lines.write_all(&full).unwrap();
        let lose = |lines: &mut Lines, count| {
            for _ in 0..count {
                lines.write_all(b"x\n").unwrap();
            }
            lines.queue.lock().lost
        };
        assert_eq!(lose(&mut lines, 1), 0, "told at once");
        assert_eq!(lose(&mut lines, 9), 9, "and not again");
        lines.queue.lock().told = Instant::now().checked_sub(BETWEEN_WARNINGS);
        assert_eq!(lose(&mut lines, 1), 0, "and after a minute");
    }
}
