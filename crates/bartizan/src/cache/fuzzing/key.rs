use super::super::{
    key::{CacheKey, LONGEST, Resource},
    key_rules::KeyRules,
    policy::fuzzing::text::{head, lines, sections},
};
use bartizan_store::Key;
use http::{HeaderMap, HeaderName, Uri, header::HOST};

const X_KEY: HeaderName = HeaderName::from_static("x-key");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request: whose it is, its target, and its head; what it asks by, if it asks by content.
struct Asked<'a> {
    partition: &'a [u8],
    uri: Uri,
    head: HeaderMap,
    content: Option<&'a [u8]>,
}

/// All that a key tells apart.
#[derive(Debug, PartialEq)]
struct Named<'a> {
    partition: Option<Key>,
    is_secret: bool,
    host: String,
    port: Option<u16>,
    path: &'a str,
    query: Option<&'a str>,
    fields: [Vec<&'a [u8]>; 2],
    content: Option<&'a [u8]>,
}

/// Two requests, each of a partition, a target and a media type in a line each, and a head: they have the same key only if
/// all is the same, and whatever they say of their host, they have a key or they have none.
pub fn key(input: &[u8]) {
    let [one, one_head, other, other_head] = sections(input);
    let (one, other) = (Asked::read(one, one_head), Asked::read(other, other_head));
    for asked in [&one, &other].into_iter().flatten() {
        rewritten(asked);
    }
    let keys = one
        .as_ref()
        .zip(other.as_ref())
        .and_then(|(one, other)| Some(((one, checked(one)?), (other, checked(other)?))));
    if let Some(((one, one_key), (other, other_key))) = keys {
        assert_eq!(one_key == other_key, one.named() == other.named(), "{:?} {:?}", one.named(), other.named());
    }
}

fn rules() -> KeyRules {
    KeyRules::new().with_field(X_KEY)
}

/// The key, of which all that can be said holds.
fn checked(asked: &Asked<'_>) -> Option<CacheKey> {
    let (key, named) = (asked.key(&rules()), asked.named());
    assert!(key.is_none() || named.is_some(), "who is asked must be clear: {key:?}");
    assert!(key.is_some() || named.is_none() || asked.is_long(), "{named:?}");
    let (key, named) = key.zip(named)?;
    assert!(key.to_string().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    assert!(key.as_bytes().starts_with(key.origin()));
    let of = Resource::of(key.as_bytes());
    assert_eq!(of.partition, key.resource().partition);
    assert!(of.target.starts_with(key.resource().target));
    assert!(key.of_every_scheme().all(|other| other.resource() == key.resource()));
    let is_extended = !named.fields[1].is_empty() || named.content.is_some();
    assert!(key.is_extended() || !is_extended);

    let url = asked.uri.authority().is_some() && asked.head.is_empty() && named.content.is_none();
    if url && let Some(purged) = KeyRules::url(&rules(), &asked.uri.to_string()) {
        assert_eq!(purged.resource().target, key.resource().target);
        let mine = named.partition.map_or(purged.clone(), |partition| purged.partition(partition));
        assert_eq!(mine, key);
        assert_eq!(key.elsewhere(&asked.uri, &rules()).as_ref(), Some(&key));
    }
    Some(key)
}

/// What goes on to the service is what the rules leave, in order, and has the key of what was asked.
fn rewritten(asked: &Asked<'_>) {
    let rules = rules().sort_query().without_params(["utm_*", "a"]);
    let Some(query) = asked.uri.query() else { return };
    let name = |param: &&str| param.split('=').next().unwrap_or_default().to_owned();
    let mut params: Vec<_> = query.split('&').collect();
    params.retain(|param| !name(param).starts_with("utm_") && name(param) != "a");
    params.sort_by_key(name);
    let left = if params.is_empty() { String::new() } else { format!("?{}", params.join("&")) };
    let left = format!("{}{left}", asked.uri.path());

    let target = rules.target(&asked.uri);
    assert_eq!(target.as_ref().map_or(asked.uri.path_and_query().unwrap().as_str(), |target| target.as_str()), left);
    let Some(target) = target else { return };
    let mut parts = asked.uri.clone().into_parts();
    parts.path_and_query = Some(target);
    let there = Asked { uri: Uri::from_parts(parts).unwrap(), head: asked.head.clone(), ..*asked };
    assert_eq!(there.key(&rules), asked.key(&rules));
    assert_eq!(rules.target(&there.uri), None, "once is enough");
}

impl<'a> Asked<'a> {
    fn read(text: &'a [u8], head_text: &[u8]) -> Option<Self> {
        let mut lines = lines(text);
        let (target, partition, content) = (lines.next()?, lines.next().unwrap_or_default(), lines.next());
        Some(Self { partition, uri: Uri::try_from(target).ok()?, head: head(head_text), content })
    }

    fn partition(&self) -> Option<Key> {
        (!self.partition.is_empty()).then(|| Key::new(self.partition))
    }

    fn key(&self, rules: &KeyRules) -> Option<CacheKey> {
        let mut key = CacheKey::of(&self.uri, &self.head, self.partition().as_ref(), rules)?;
        if let Some(content) = self.content {
            key.extend_with_content(content, &[7; 32]);
        }
        Some(key)
    }

    fn is_long(&self) -> bool {
        let fields = self.head.values().map(http::HeaderValue::len).sum::<usize>();
        self.uri.to_string().len() + fields + self.content.map_or(0, <[u8]>::len) > LONGEST / 2
    }

    /// As simply as it can be said; `None` if it is not clear whom it asks.
    fn named(&self) -> Option<Named<'_>> {
        let is_secret = match self.uri.scheme_str() {
            None | Some("http") => false,
            Some("https") => true,
            Some(_) => return None,
        };
        let fields: Vec<_> = self.head.get_all(HOST).iter().map(|host| host.to_str().ok()).collect();
        let hosts = fields.iter().copied().chain(self.uri.authority().map(|authority| Some(authority.as_str())));
        let hosts = hosts.map(|host| naive_host(host?, is_secret)).collect::<Option<Vec<_>>>()?;
        let (host, port) = hosts.first().cloned().filter(|first| hosts.iter().all(|host| host == first))?;
        let lines = |name| self.head.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
        (fields.len() < 2).then(|| Named {
            partition: self.partition(),
            is_secret,
            host,
            port,
            path: self.uri.path(),
            query: self.uri.query(),
            fields: [lines(X_FORWARDED_PROTO), lines(X_KEY)],
            content: self.content,
        })
    }
}

/// The host in lower case, and its port if that is not the one of the scheme.
fn naive_host(text: &str, is_secret: bool) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0') => (host, port),
        _ => (text, ""),
    };
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    let is_host = match host.strip_prefix('[') {
        Some(address) => {
            let address = address.strip_suffix(']')?;
            !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
        }
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)),
    };
    let default = if is_secret { 443 } else { 80 };
    (is_host && host.len() <= 255).then(|| (host.to_ascii_lowercase(), port.filter(|port| *port != default)))
}
