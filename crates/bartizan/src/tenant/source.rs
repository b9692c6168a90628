//! Where the tenant's name stands in a request.

use super::{id::is_valid, refused::Refused};
use crate::shared::{Single, single};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts, uri::PathAndQuery};
use std::{any::Any, borrow::Cow, fmt, sync::Arc};

/// One or more places where a request may name its tenant.
///
/// All of them are read, in order. The first that names a tenant decides, and another that names a different one makes
/// the request a conflict, so that no two readers of one request can take it for two tenants'. A place that names
/// something malformed makes the request malformed, whatever the others say.
#[derive(Clone, Debug)]
pub struct Source {
    places: Arc<[Place]>,
}

#[derive(Clone)]
enum Place {
    Header(HeaderName),
    /// The domain below which tenants live.
    Subdomain(Arc<str>),
    /// What comes before the name, both slashes included.
    Path {
        before: Arc<str>,
        strip: bool,
    },
    Fn(Arc<Reader>),
}

type Reader = dyn for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync;

/// The head of a request, as far as most places look at it.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    /// All of it, for a source that [wants it](Source::wants_heads).
    whole: Option<&'a Parts>,
}

/// What a request names: a valid name, and the URI that is left when the name has been taken off it.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) name: Cow<'a, [u8]>,
    /// Boxed, because it is large and seldom there.
    pub(super) stripped: Option<Box<Uri>>,
}

/// The tenant in a field, such as `x-tenant-id`.
///
/// A field on several lines is a conflict, even if they say the same: whoever merges or picks lines further in may
/// see another tenant than we do.
///
/// # Panics
/// If `name` can't be the name of a field.
#[must_use]
pub fn from_header(name: impl TryInto<HeaderName>) -> Source {
    let Ok(name) = name.try_into() else { panic!("a tenant can only be read from a field with a valid name") };
    Source::of(Place::Header(name))
}

/// The tenant in the name of the host: `acme` of `acme.example.com`, for the base `example.com`.
///
/// The port and the dot of the root are put aside, and upper case is lowered. The base itself and hosts elsewhere name
/// nobody; a deeper name (`a.b.example.com`) is malformed. `Host` on several lines is a conflict, and so is a `Host`
/// that differs from the host in the request's target (RFC 9112 §3.2, RFC 9113 §8.3.1).
///
/// # Panics
/// If `base` can't be the name of a host, as with a scheme, a port or a `*`: no tenant would ever be found below it.
#[must_use]
pub fn from_subdomain(base: &str) -> Source {
    let base = base.trim_matches('.');
    assert!(base.split('.').all(is_label), "a tenant can only be read from below the name of a host, not `{base}`");
    Source::of(Place::Subdomain(base.into()))
}

/// The tenant in the segment of the path after `prefix`, such as `acme` of `/t/acme/orders` for the prefix `/t`; with
/// the prefix `/`, in the first segment. The path stays as it is.
///
/// A path that does not begin so, or that has an empty segment there, names nobody. Nothing is decoded: a segment with
/// an escape is malformed; and so is a path with a `.` or `..` in it, in any spelling that some server resolves, as it would
/// name somebody else there. A path that begins so only for a server that decodes escapes, merges slashes, takes `\` for one,
/// or drops the parameters of segments (`/t;v=1/acme`), is malformed as well. So is one that does not begin so and has both `;`
/// and `\` in it, escaped or not: there are more ways to read it than one could try.
///
/// # Panics
/// If `prefix` has a `;`, a `\` or a `%` in it, which servers read in different ways.
#[must_use]
pub fn from_path(prefix: &str) -> Source {
    Source::of(Place::path(prefix, false))
}

/// The tenant in the path, like [`from_path`], which the service then sees without prefix and tenant: `/t/acme/orders`
/// becomes `/orders`, and `/t/acme?page=2` becomes `/?page=2`.
///
/// A path that would begin with `//` or `/\` afterwards is malformed: read as a reference, it would lead to another host.
///
/// # Panics
/// If `prefix` has a `;`, a `\` or a `%` in it, which servers read in different ways.
#[must_use]
pub fn from_path_stripped(prefix: &str) -> Source {
    Source::of(Place::path(prefix, true))
}

/// The tenant that an extension tells: most often the claim of whoever authentication let in.
///
/// ```
/// use bartizan::tenant;
///
/// #[derive(Clone)]
/// struct Claims { tenant: Option<String> }
///
/// let source = tenant::from_extension(|claims: &Claims| claims.tenant.as_deref());
/// ```
#[must_use]
pub fn from_extension<E: Any + Send + Sync>(
    read: impl for<'a> Fn(&'a E) -> Option<&'a str> + Send + Sync + 'static,
) -> Source {
    from_fn(move |head| head.extensions.get().and_then(&read).map(Cow::Borrowed))
}

/// The tenant that a function finds in the head.
///
/// ```
/// use bartizan::tenant;
///
/// let source = tenant::from_fn(|head| {
///     let query = head.uri.query()?;
///     query.split('&').find_map(|pair| pair.strip_prefix("tenant=")).map(Into::into)
/// });
/// ```
#[must_use]
pub fn from_fn(read: impl for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static) -> Source {
    Source::of(Place::Fn(Arc::new(read)))
}

// ===== impl Source =====

impl Source {
    fn of(place: Place) -> Self {
        Self { places: Arc::new([place]) }
    }

    /// Reads `other` as well, after this.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { places: [self.places, other.places].concat().into() }
    }

    /// Whether a function wants to see the whole head.
    pub(super) fn wants_heads(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Fn(_)))
    }

    /// The field that alone names the tenant, as in most services, if it came once.
    #[inline]
    pub(super) fn only_field<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let [Place::Header(name)] = &*self.places else { return None };
        if let Single::One(value) = single(headers, name) { Some(value) } else { None }
    }

    /// What the request names.
    #[inline]
    pub(super) fn read<'a>(&self, head: impl Into<Head<'a>>) -> Result<Option<Named<'a>>, Refused> {
        let head = head.into();
        // One place is the usual case, and spares the merging.
        if let [place] = &*self.places { place.read(head) } else { self.read_all(head) }
    }

    fn read_all<'a>(&self, head: Head<'a>) -> Result<Option<Named<'a>>, Refused> {
        let mut first: Option<Named<'a>> = None;
        for place in &*self.places {
            let Some(next) = place.read(head)? else { continue };
            match &mut first {
                None => first = Some(next),
                Some(first) if first.name == next.name => first.stripped = first.stripped.take().or(next.stripped),
                Some(_) => return Err(Refused::Conflict),
            }
        }
        Ok(first)
    }
}

// ===== impl Place =====

impl Place {
    fn path(prefix: &str, strip: bool) -> Self {
        assert!(
            !prefix.contains([';', '\\', '%']),
            "a tenant can't be read from below `{prefix}`: servers differ in what it is"
        );
        let prefix = prefix.trim_matches('/');
        let before = if prefix.is_empty() { "/".into() } else { format!("/{prefix}/").into() };
        Self::Path { before, strip }
    }

    #[inline]
    fn read<'a>(&self, head: Head<'a>) -> Result<Option<Named<'a>>, Refused> {
        match self {
            Self::Header(name) => match single(head.headers, name) {
                Single::Absent => Ok(None),
                Single::One(value) => Named::new(value.as_bytes()),
                Single::Several => Err(Refused::Conflict),
            },
            Self::Subdomain(base) => match host(head)? {
                Some(host) => below(base, host),
                None => Ok(None),
            },
            Self::Path { before, strip } => in_path(before, *strip, head.uri),
            Self::Fn(read) => match head.whole.and_then(read.as_ref()) {
                Some(Cow::Borrowed(name)) => Named::new(name.as_bytes()),
                Some(Cow::Owned(name)) => Named::new(name.into_bytes()),
                None => Ok(None),
            },
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Subdomain(base) => write!(f, "subdomain of {base}"),
            Self::Path { before, strip: false } => write!(f, "path {before}{{tenant}}"),
            Self::Path { before, strip: true } => write!(f, "path {before}{{tenant}}, stripped"),
            Self::Fn(_) => f.write_str("function"),
        }
    }
}

// ===== impl Head =====

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(head: &'a Parts) -> Self {
        Self { uri: &head.uri, headers: &head.headers, extensions: &head.extensions, whole: Some(head) }
    }
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self { uri: request.uri(), headers: request.headers(), extensions: request.extensions(), whole: None }
    }
}

// ===== impl Named =====

impl<'a> Named<'a> {
    #[inline]
    fn new(name: impl Into<Cow<'a, [u8]>>) -> Result<Option<Self>, Refused> {
        let name = name.into();
        if is_valid(&name) { Ok(Some(Self { name, stripped: None })) } else { Err(Refused::Malformed) }
    }
}

// ===== reading hosts and paths =====

/// The host that the request is sent to, without its port.
fn host(head: Head<'_>) -> Result<Option<&str>, Refused> {
    let in_target = head.uri.host();
    let in_field = host_field(head.headers)?;
    match (in_target, in_field) {
        (Some(target), Some(field)) if !target.eq_ignore_ascii_case(field) => Err(Refused::Conflict),
        _ => Ok(in_target.or(in_field)),
    }
}

fn host_field(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let value = match single(headers, &header::HOST) {
        Single::Absent => return Ok(None),
        Single::One(value) => value.to_str().map_err(|_| Refused::Malformed)?,
        Single::Several => return Err(Refused::Conflict),
    };
    // What follows the bracket of an IPv6 address, or the name, is a port or nothing (RFC 3986 §3.2.2).
    let name_ends = value.find(']').map_or(0, |bracket| bracket + 1);
    match value[name_ends..].find(':') {
        None => Ok(Some(value)),
        Some(colon) => {
            let (host, port) = value.split_at(name_ends + colon);
            if port[1..].bytes().all(|byte| byte.is_ascii_digit()) { Ok(Some(host)) } else { Err(Refused::Malformed) }
        }
    }
}

/// Whether a name of hosts can have this between two dots. Some have a `_`, though they should not.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The label in front of `base`.
fn below<'a>(base: &str, host: &'a str) -> Result<Option<Named<'a>>, Refused> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = host
        .len()
        .checked_sub(base.len())
        .and_then(|at| host.split_at_checked(at))
        .filter(|(_, end)| end.eq_ignore_ascii_case(base))
        .and_then(|(label, _)| label.strip_suffix('.'));
    match label {
        None => Ok(None),
        Some(label) if label.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Named::new(label.as_bytes().to_ascii_lowercase())
        }
        Some(label) => Named::new(label.as_bytes()),
    }
}

/// The segment that comes after `before`.
fn in_path<'a>(before: &str, strip: bool, uri: &'a Uri) -> Result<Option<Named<'a>>, Refused> {
    if has_dot_segment(uri.path()) {
        return Err(Refused::Malformed);
    }
    let Some(after) = uri.path().strip_prefix(before) else {
        return if reads_as(before, uri.path()) { Err(Refused::Malformed) } else { Ok(None) };
    };
    let segment = after.split('/').next().unwrap_or_default();
    if segment.is_empty() {
        return if after.is_empty() { Ok(None) } else { Err(Refused::Malformed) };
    }
    let mut named = Named::new(segment.as_bytes())?;
    if let Some(named) = named.as_mut().filter(|_| strip) {
        named.stripped = Some(Box::new(without_start(uri, before.len() + segment.len()).ok_or(Refused::Malformed)?));
    }
    Ok(named)
}

/// The URI without the first `start` bytes of its path.
fn without_start(uri: &Uri, start: usize) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(start..)?;
    if matches!(rest.as_bytes(), [b'/', b'/' | b'\\', ..]) {
        return None;
    }
    let rest =
        if rest.starts_with('/') { PathAndQuery::try_from(rest) } else { PathAndQuery::try_from(format!("/{rest}")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether a server that decodes escapes, takes `\` for `/`, drops the parameters of segments and merges slashes would take
/// this path for one that begins with `before`. What names nobody here must not name somebody there.
fn reads_as(before: &str, path: &str) -> bool {
    if !path.contains(['%', ';', '\\']) && !path.contains("//") {
        return false; // as most are, which everybody reads alike
    }
    let begins = |path: &str| {
        let decoded = String::from_utf8_lossy(&decoded(path)).replace('\\', "/");
        let mut read = without_parameters(&decoded).into_bytes();
        read.dedup_by(|byte, last| *byte == b'/' && *last == b'/');
        read.starts_with(before.as_bytes())
    };
    // A parameter ends at a slash, and servers differ in what is one by then: some drop parameters before they decode
    // slashes, and those of them that take `\` for one may do so at any step.
    let plain = decoded(path);
    if plain.contains(&b';') && plain.contains(&b'\\') {
        return true;
    }
    let dropped_early = [path, &path.replace("%3B", ";").replace("%3b", ";")].map(without_parameters);
    begins(path) || dropped_early.iter().any(|path| begins(path))
}

/// The path without what follows a `;` in its segments.
fn without_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

/// Whether a server that resolves `.` and `..`, in any spelling that some server does, would take this path for another.
/// Who is named here must not be somebody else there.
fn has_dot_segment(path: &str) -> bool {
    let is_dots = |segment: &[u8]| matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b".."));
    path.contains(['.', '%']) && decoded(path).split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots)
}

/// The bytes for which a path stands.
fn decoded(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let (byte, after) = match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) => (decoded, &after[2..]),
            None => (*byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    decoded
}
