//! Paths that lead somewhere else than they seem to.

/// Whether a segment of the path is `.` or `..`, which would lead out of the place that was meant.
///
/// Servers differ in what they take for the end of a segment, so all of it counts: `/` and `\`, encoded or not, and `;`
/// where the parameters of a segment begin (RFC 3986 §3.3).
pub(crate) fn has_dot_segment(path: &str) -> bool {
    if !path.contains('%') {
        return has_dots(path);
    }
    let spellings = [("%2e", "."), ("%2f", "/"), ("%5c", "\\"), ("%3b", ";")];
    has_dots(&spellings.iter().fold(path.to_ascii_lowercase(), |path, (encoded, plain)| path.replace(encoded, plain)))
}

fn has_dots(path: &str) -> bool {
    path.contains('.') && path.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_seen_in_any_spelling() {
        for path in ["/..", "/a/../b", "/a/./b", "/%2e%2E/b", "/.%2e", "/%2E"] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in
            ["/..%2fadmin", "/a%2F..", "/..;/admin", "/..%3Bx/admin", "/.%2e;x=1/admin", "/..%5cadmin", r"/..\admin"]
        {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "/...", "/a..b", "/.well-known/x", "/%2e%2e%2e", "/a%2Fb", "/a;v=..", "/%252e%252e%252f"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
