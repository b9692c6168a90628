//! What of a request belongs to its key, and what must not reach who answers.

use super::{buffer::Buffer, key::CacheKey};
use http::{HeaderMap, HeaderName, Uri, header, uri::PathAndQuery};
use smallvec::SmallVec;
use std::borrow::Cow;

/// What of a request makes up the key of a cache.
///
/// Without more said that is the partition, the scheme, the host, and the path and query as they were received. What is
/// not in the key never gets to whoever answers, either: otherwise one client could have an answer stored that is meant
/// for others and says what he likes ("web cache poisoning"). So a query goes on as the rules leave it, and
/// [fields that change what is answered](Self::takes_out) are taken out of a request whose response may be stored.
///
/// ```
/// use bartizan::cache::KeyRules;
///
/// let rules = KeyRules::new().sort_query().without_params(["utm_*", "fbclid"]);
/// let key = rules.url("https://Shop.example:443/shoes?size=9&utm_source=mail&colour=red").expect("a URL");
/// assert_eq!(key.to_string(), "https://shop.example/shoes?colour=red&size=9");
/// ```
#[derive(Clone, Debug)]
pub struct KeyRules {
    sorted: bool,
    without: Box<[Pattern]>,
    only: Option<Box<[Pattern]>>,
    /// Sorted, each once.
    fields: Vec<HeaderName>,
    forwarding: bool,
    any_host: bool,
}

/// The name of a parameter, or how the names begin.
#[derive(Clone, Debug)]
struct Pattern {
    text: Box<str>,
    is_prefix: bool,
}

pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// How those begin in which a proxy tells what it was asked for, all but the one in which it tells by whom.
const X_FORWARDED: &str = "x-forwarded-";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// What makes frameworks answer for another host, scheme, path or method than the one in the key, beside `X-Forwarded-*`.
///
/// From "Practical Web Cache Poisoning" and "Web Cache Entanglement" (`PortSwigger`, 2018 and 2020), and "Your Cache Has
/// Fallen" (2019). `X-Forwarded-For` is not among them: it says who asked, which a proxy behind has to know, and
/// who answers by it has to say so in `Vary` or `Cache-Control`.
const TELLING: [&str; 12] = [
    "forwarded",
    "front-end-https",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-rewrite-url",
    "x-script-name",
    "x-url-scheme",
];

// ===== impl KeyRules =====

impl KeyRules {
    /// Everything counts that names a resource, and `X-Forwarded-Proto`: without it a service behind a proxy that speaks
    /// TLS would answer `https` with a redirection to `https`.
    #[must_use]
    pub fn new() -> Self {
        let fields = vec![X_FORWARDED_PROTO];
        Self { sorted: false, without: Box::default(), only: None, fields, forwarding: false, any_host: false }
    }

    /// Parameters in another order are the same query. Those of one name stay in their order.
    #[must_use]
    pub fn sort_query(self) -> Self {
        Self { sorted: true, ..self }
    }

    /// These parameters are left out, on the way to the service, too. A `*` at the end stands for any end: `utm_*`.
    #[must_use]
    pub fn without_params<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { without: names.into_iter().map(Pattern::new).collect(), ..self }
    }

    /// All other parameters are left out, on the way to the service, too. A `*` at the end stands for any end.
    #[must_use]
    pub fn only_params<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { only: Some(names.into_iter().map(Pattern::new).collect()), ..self }
    }

    /// This field of a request counts, as it was received. Where a response says so itself, with `Vary`, there is no need.
    #[must_use]
    pub fn with_field(mut self, name: HeaderName) -> Self {
        self.fields.push(name);
        self.fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.fields.dedup();
        self
    }

    /// What a proxy in front says that it was asked for counts, and reaches the service: all of `X-Forwarded-*` but
    /// `X-Forwarded-For`, and of `Forwarded` (RFC 7239) all but `for` and `by`, which tell who asks. Only for where a layer
    /// further out has taken them from everybody who is not trusted: a stranger would have the service asked anew for each
    /// word that he makes up.
    #[must_use]
    pub fn with_forwarding(self) -> Self {
        Self { forwarding: true, ..self }
    }

    /// `X-Forwarded-Proto` does not count, and does not reach the service: for a server that clients reach directly.
    #[must_use]
    pub fn without_forwarded_proto(mut self) -> Self {
        self.fields.retain(|name| name != X_FORWARDED_PROTO);
        self
    }

    /// All hosts have the same resources. `Host` reaches the service all the same: this is only for where no answer depends on
    /// it, or something further out has checked it. A request that names two hosts, or none that could be one, is still not cached.
    #[must_use]
    pub fn any_host(self) -> Self {
        Self { any_host: true, ..self }
    }

    /// The key of a URL, to purge it. `None` if it is not absolute, or its host is no host.
    ///
    /// It stands for what is stored without a partition, see [`CacheKey::partition`].
    #[must_use]
    pub fn url(&self, url: &str) -> Option<CacheKey> {
        let uri: Uri = url.parse().ok()?;
        uri.authority().and_then(|_| CacheKey::of(&uri, &HeaderMap::new(), None, self))
    }

    /// Whether a field must be taken out of a request whose response may be stored, since it changes what is answered and
    /// is not in the key: `Forwarded`, `X-Forwarded-*` but `X-Forwarded-For`, `X-Original-URL`, `X-Rewrite-URL`, and
    /// `X-HTTP-Method-Override` and its kin; also with `_` for `-`, which is the same to what hands fields on as variables
    /// (CGI, WSGI). A proxy behind the cache writes its own. Where one in front of it says something in them that is needed,
    /// make it part of the key with [`with_field`](Self::with_field) or [`with_forwarding`](Self::with_forwarding).
    #[must_use]
    pub fn takes_out(&self, name: &HeaderName) -> bool {
        // All begin with one of these, which most names of a request do not.
        matches!(name.as_str().as_bytes(), [b'x', b'-' | b'_', ..] | [b'f', ..]) && self.is_unkeyed(name)
    }

    /// Path and query as they go to the service; `None` if they are to stay what they are.
    pub(super) fn target(&self, uri: &Uri) -> Option<PathAndQuery> {
        let query = uri.query().filter(|_| self.rewrites())?;
        let mut target = Buffer::from_slice(uri.path().as_bytes());
        self.write_query(query, &mut target);
        let target = PathAndQuery::try_from(&target[..]).ok()?;
        (Some(&target) != uri.path_and_query()).then_some(target)
    }

    /// Path and query.
    #[inline]
    pub(super) fn write_target(&self, uri: &Uri, out: &mut Buffer) {
        match uri.path_and_query().map(PathAndQuery::as_str) {
            // Nearly always they stand side by side, as they are to be.
            Some(target) if target.starts_with('/') && !self.rewrites() => out.extend_from_slice(target.as_bytes()),
            _ => {
                out.extend_from_slice(uri.path().as_bytes());
                if let Some(query) = uri.query() {
                    self.write_query(query, out);
                }
            }
        }
    }

    fn write_query(&self, query: &str, out: &mut Buffer) {
        if !self.rewrites() {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
            return;
        }
        let mut params: SmallVec<[(&str, &str); 16]> = query
            .split('&')
            .map(|param| (param.split_once('=').map_or(param, |(name, _)| name), param))
            .filter(|(name, _)| self.keeps(name))
            .collect();
        if self.sorted {
            params.sort_by_key(|(name, _)| *name);
        }
        for (index, (_, param)) in params.iter().enumerate() {
            out.push(if index == 0 { b'?' } else { b'&' });
            out.extend_from_slice(param.as_bytes());
        }
    }

    /// Takes out what changes the answer and is not in the key.
    pub(super) fn take_out(&self, headers: &mut HeaderMap) {
        let unkeyed: SmallVec<[HeaderName; 4]> = headers.keys().filter(|name| self.takes_out(name)).cloned().collect();
        for name in unkeyed {
            headers.remove(name);
        }
    }

    fn is_unkeyed(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        let spelled = if text.contains('_') { Cow::Owned(text.replace('_', "-")) } else { Cow::Borrowed(text) };
        let tells = tells_what_was_asked(&spelled) || TELLING.contains(&&*spelled);
        tells && !self.fields.contains(name) && !(self.forwarding && is_forwarding(name))
    }

    /// What a proxy in front says that it was asked for, where that counts.
    pub(super) fn forwarding<'a>(&self, headers: &'a HeaderMap) -> SmallVec<[&'a HeaderName; 8]> {
        if !self.forwarding {
            return SmallVec::new();
        }
        let counts = |name: &&HeaderName| is_forwarding(name) && !self.fields.contains(name);
        let mut names: SmallVec<[&HeaderName; 8]> = headers.keys().filter(counts).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        names
    }

    /// The fields that count, if they are there. `X-Forwarded-Proto`, which counts nearly always and is not there nearly
    /// always, need not be looked for.
    pub(super) fn fields(&self, is_forwarded: bool) -> impl Iterator<Item = &HeaderName> {
        let only_forwarded = matches!(&*self.fields, [only] if *only == X_FORWARDED_PROTO);
        if only_forwarded && !is_forwarded { [].iter() } else { self.fields.iter() }
    }

    pub(super) fn is_any_host(&self) -> bool {
        self.any_host
    }

    fn rewrites(&self) -> bool {
        self.sorted || self.only.is_some() || !self.without.is_empty()
    }

    fn keeps(&self, name: &str) -> bool {
        let is_one_of = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        self.only.as_deref().is_none_or(is_one_of) && !is_one_of(&self.without)
    }
}

impl Default for KeyRules {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a proxy says in this field what it was asked for.
fn is_forwarding(name: &HeaderName) -> bool {
    tells_what_was_asked(name.as_str()) || *name == header::FORWARDED
}

fn tells_what_was_asked(name: &str) -> bool {
    name.starts_with(X_FORWARDED) && name != X_FORWARDED_FOR
}

/// What `Forwarded` (RFC 7239 §4) says beside who asks: each line without `for` and `by`. What cannot be taken apart counts
/// as a whole.
pub(super) fn forwarded_but_who(value: &[u8], out: &mut Buffer) {
    let (mut rest, mut is_quoted, mut is_escaped) = (value, false, false);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' | b',' if !is_quoted => return true,
                _ => {}
            }
            false
        });
        let (pair, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        let name = pair.trim_ascii_start().split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii_end();
        if is_quoted || !(name.eq_ignore_ascii_case(b"for") || name.eq_ignore_ascii_case(b"by")) {
            out.extend_from_slice(pair);
        } else if pair.ends_with(b",") {
            out.push(b',');
        }
        rest = after;
    }
}

// ===== impl Pattern =====

impl Pattern {
    fn new(text: &str) -> Self {
        let begin = text.strip_suffix('*');
        Self { text: begin.unwrap_or(text).into(), is_prefix: begin.is_some() }
    }

    fn matches(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&*self.text) } else { name == &*self.text }
    }
}
