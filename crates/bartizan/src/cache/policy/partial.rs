//! Answers that are a part of what is stored (RFC 9110 §15.3.7, §15.5.17).

use super::{content_range::content_range, range::stands_in_refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use std::ops::Range;

/// The head of a 206 with one part: all that a 200 would say, and which part it is.
pub(in crate::cache) fn partial_head(stored: &HeaderMap, range: &Range<u64>, complete: Option<u64>) -> HeaderMap {
    let mut head = stored.clone();
    head.insert(header::CONTENT_RANGE, content_range(range, complete));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end.saturating_sub(range.start)));
    head
}

/// The head of a 416: how long everything is.
pub(in crate::cache) fn unsatisfiable_head(stored: &HeaderMap, complete: u64) -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in stored.iter().filter(|(name, _)| stands_in_refusal(name)) {
        head.append(name, value.clone());
    }
    head.insert(header::CONTENT_RANGE, ascii(format!("bytes */{complete}")));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    head
}

/// The head and the content of a 206 with many parts. The content is pieces of what `slice` gives, and a few lines
/// between them.
///
/// `boundary` must not be known to whoever wrote the content, so that it is not in it; it is up to 70 letters and digits
/// (RFC 2046 §5.1.1). `None` if `slice` has not all.
pub(in crate::cache) fn multipart(
    stored: &HeaderMap,
    ranges: &[Range<u64>],
    complete: u64,
    boundary: &str,
    mut slice: impl FnMut(&Range<u64>, &mut Vec<Bytes>) -> Option<()>,
) -> Option<(HeaderMap, Vec<Bytes>)> {
    let mut pieces = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let mut lines = Vec::with_capacity(128);
        if !pieces.is_empty() {
            lines.extend_from_slice(b"\r\n");
        }
        lines.extend_from_slice(b"--");
        lines.extend_from_slice(boundary.as_bytes());
        // RFC 9110 §15.3.7.2: each part says its range, and its type if the whole has one.
        if let Some(kind) = stored.get(header::CONTENT_TYPE) {
            lines.extend_from_slice(b"\r\nContent-Type: ");
            lines.extend_from_slice(kind.as_bytes());
        }
        lines.extend_from_slice(b"\r\nContent-Range: ");
        lines.extend_from_slice(content_range(range, Some(complete)).as_bytes());
        lines.extend_from_slice(b"\r\n\r\n");
        pieces.push(lines.into());
        slice(range, &mut pieces)?;
    }
    pieces.push(format!("\r\n--{boundary}--\r\n").into());
    let mut head = stored.clone();
    // It says which parts these are in each of them, and not for all.
    head.remove(header::CONTENT_RANGE);
    head.insert(header::CONTENT_TYPE, ascii(format!("multipart/byteranges; boundary={boundary}")));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(pieces.iter().map(Bytes::len).sum::<usize>()));
    Some((head, pieces))
}

/// A part of a content that is there as one.
pub(in crate::cache) fn slice(content: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
    (start <= end && end <= content.len()).then(|| content.slice(start..end))
}

fn ascii(text: String) -> HeaderValue {
    // A boundary that is no text is a mistake of ours, and not worth a panic.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;
