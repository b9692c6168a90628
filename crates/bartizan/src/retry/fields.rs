//! A copy of a request's header.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a header, one after the other: as most are never asked for, they are copied as cheaply as can be, into
/// one buffer that serves again.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// Each name, and its value.
    bytes: Vec<u8>,
    ends: Vec<End>,
}

/// Where a field ends in the buffer.
#[derive(Clone, Copy, Debug)]
struct End {
    name: usize,
    value: usize,
    is_sensitive: bool,
}

// ===== impl Fields =====

impl Fields {
    /// Makes these the fields of `headers`. There are none before.
    pub(super) fn copy(&mut self, headers: &HeaderMap) {
        let Self { bytes, ends } = self;
        ends.extend(headers.iter().map(|(name, value)| {
            bytes.extend_from_slice(name.as_str().as_bytes());
            let name = bytes.len();
            bytes.extend_from_slice(value.as_bytes());
            End { name, value: bytes.len(), is_sensitive: value.is_sensitive() }
        }));
    }

    /// The fields, in their order. Their values share one allocation.
    pub(super) fn to_map(&self) -> HeaderMap {
        let bytes = Bytes::copy_from_slice(&self.bytes);
        let mut headers = HeaderMap::with_capacity(self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            let name = HeaderName::from_bytes(&bytes[start..end.name]).expect("it was the name of a field");
            let value = bytes.slice(end.name..end.value);
            let mut value = HeaderValue::from_maybe_shared(value).expect("it was the value of a field");
            value.set_sensitive(end.is_sensitive);
            headers.append(name, value);
            start = end.value;
        }
        headers
    }

    /// Empties it for another request; it keeps its place, unless that is unusually large.
    #[inline]
    pub(super) fn clear(&mut self) {
        const BYTES: usize = 8 * 1024;
        const FIELDS: usize = 128;
        self.bytes.clear();
        self.ends.clear();
        if self.bytes.capacity() > BYTES || self.ends.capacity() > FIELDS {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;
    use proptest::prelude::*;

    fn copied(headers: &HeaderMap) -> HeaderMap {
        let mut fields = Fields::default();
        fields.copy(headers);
        fields.to_map()
    }

    proptest! {
        /// What was copied is what was there, to the order of the fields; and so it is of the next request.
        #[test]
        fn a_copy_has_the_same_fields(
            all in prop::collection::vec(("[a-z-]{1,12}", "[\\t -~\u{80}-\u{ff}]{0,40}", any::<bool>()), 0..40),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value, is_sensitive) in &all {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                let mut value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                value.set_sensitive(*is_sensitive);
                headers.append(name, value);
            }
            let mut fields = Fields::default();
            for _ in 0..2 {
                fields.copy(&headers);
                let copy = fields.to_map();
                let list = |map: &HeaderMap| -> Vec<_> {
                    map.iter().map(|(name, value)| (name.clone(), value.clone(), value.is_sensitive())).collect()
                };
                prop_assert_eq!(list(&copy), list(&headers));
                fields.clear();
                prop_assert!(fields.to_map().is_empty());
            }
        }
    }

    #[test]
    fn a_large_header_keeps_no_place() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_bytes(&[b'x'; 10_000]).expect("a value"));
        assert_eq!(copied(&headers), headers);
        let mut fields = Fields::default();
        fields.copy(&headers);
        fields.clear();
        assert_eq!(fields.bytes.capacity(), 0);
    }
}
