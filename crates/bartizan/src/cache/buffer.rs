//! Bytes that are mostly few.

use std::ops::{Deref, DerefMut};

/// Bytes in place, or on the heap when there are too many.
///
/// Made for keys, which are written piece by piece for each request: a piece costs one comparison and one copy.
#[derive(Clone)]
pub(super) struct Buffer {
    /// All of them, if they fit.
    here: [u8; ROOM],
    length: usize,
    /// All of them, if they do not.
    beyond: Vec<u8>,
}

const ROOM: usize = 224;

// ===== impl Buffer =====

impl Buffer {
    #[inline]
    pub(super) fn new() -> Self {
        Self { here: [0; ROOM], length: 0, beyond: Vec::new() }
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Self {
        let mut buffer = Self::new();
        buffer.extend_from_slice(bytes);
        buffer
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        match self.here.get_mut(self.length) {
            Some(room) => {
                *room = byte;
                self.length += 1;
            }
            None => self.extend_beyond(&[byte]),
        }
    }

    #[inline]
    pub(super) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        match self.here.get_mut(self.length..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.extend_beyond(bytes),
        }
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if self.is_here() {
            self.length = self.length.min(length);
        } else {
            self.beyond.truncate(length);
        }
    }

    /// From here on nothing fits in place.
    #[cold]
    fn extend_beyond(&mut self, bytes: &[u8]) {
        if self.is_here() {
            self.beyond.extend_from_slice(&self.here[..self.length]);
            self.length = usize::MAX;
        }
        self.beyond.extend_from_slice(bytes);
    }

    fn is_here(&self) -> bool {
        self.length <= ROOM
    }

    #[cfg(test)]
    pub(super) fn is_beyond(&self) -> bool {
        !self.is_here()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.here.get(..self.length).unwrap_or(&self.beyond)
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.here.get_mut(..self.length).unwrap_or(&mut self.beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_place_is_the_same_bytes() {
        for piece in [1, 3, 100, 224, 225, 1000] {
            let (mut buffer, mut model) = (Buffer::new(), Vec::new());
            for byte in 0..10 {
                let bytes = vec![byte; piece];
                buffer.extend_from_slice(&bytes);
                buffer.push(byte);
                model.extend_from_slice(&bytes);
                model.push(byte);
                assert_eq!(&*buffer, &model);
                assert_eq!(&*buffer.clone(), &model);
            }
            buffer[0] = 7;
            model[0] = 7;
            for length in [model.len() + 1, model.len(), model.len() - 1, 5, 0] {
                buffer.truncate(length);
                model.truncate(length);
                assert_eq!(&*buffer, &model);
            }
            buffer.extend_from_slice(b"again");
            assert_eq!(&*buffer, b"again");
        }
    }
}
