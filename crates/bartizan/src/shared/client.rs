//! Who the client is, when proxies stand between.

use http::{Extensions, HeaderMap, HeaderName, header, request};
use ipnet::IpNet;
use std::{
    cell::Cell,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The address of the peer: of whoever opened the connection. Stands in the request's extensions.
///
/// `bartizan::bridge::axum::with_peer_addr` sets it for a served axum router; a server of your own inserts it into each
/// request of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Which proxies are believed when they say for whom they speak.
///
/// By default none is: the client is the peer. With trusted networks, and only if the peer itself is in one of them,
/// the forwarding field is walked from right to left, over every line of it; the first address that is not trusted is
/// the client. What stands further left was written by strangers and is never looked at.
///
/// ```
/// use bartizan::{PeerAddr, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "fd00::/8"])?;
/// let request = http::Request::builder()
///     .header("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.0.0.2")
///     .extension(PeerAddr("10.0.0.1:4711".parse()?))
///     .body(())?;
/// let (head, ()) = request.into_parts();
/// assert_eq!(proxies.client(&head), Some("203.0.113.7".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TrustedProxies {
    nets: Arc<[IpNet]>,
    field: HeaderName,
    peer: Option<PeerOf>,
}

type PeerOf = Arc<dyn Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync>;

/// A network that can't be read.
#[derive(Debug)]
pub struct CidrError {
    given: String,
}

// ===== impl TrustedProxies =====

impl TrustedProxies {
    /// No proxy is trusted: the client is the peer.
    #[must_use]
    pub fn none() -> Self {
        Self { nets: Arc::new([]), field: X_FORWARDED_FOR, peer: None }
    }

    /// Trusts the proxies in these networks, such as `10.0.0.0/8`, `fd00::/8` or the single address `192.0.2.1`.
    ///
    /// # Errors
    /// If one of them is neither a network in CIDR notation nor an address.
    pub fn new<N: AsRef<str>>(nets: impl IntoIterator<Item = N>) -> Result<Self, CidrError> {
        let nets = nets.into_iter().map(|net| parse_net(net.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { nets, ..Self::none() })
    }

    /// Reads `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    ///
    /// Only one of them is ever read: a proxy that writes one passes the other on as the client sent it.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.field = header::FORWARDED;
        self
    }

    /// Tells where the peer's address stands, for a server that does not set [`PeerAddr`].
    #[must_use]
    pub fn peer_by(mut self, peer: impl Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.peer = Some(Arc::new(peer));
        self
    }

    /// The address of the client; `None` if not even the peer is known.
    ///
    /// An address of IPv4 that is mapped into IPv6 comes out as IPv4.
    #[must_use]
    pub fn client(&self, head: &request::Parts) -> Option<IpAddr> {
        self.client_behind(self.peer(head), &head.headers)
    }

    /// The same without a whole head, unless [`peer_by`](Self::peer_by) has a function that wants one.
    #[allow(dead_code, reason = "a build with few layers has no user for it")]
    #[inline]
    pub(crate) fn client_in(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        debug_assert!(!self.wants_heads(), "the function has not been asked");
        self.client_behind(peer_in(extensions), headers)
    }

    /// Whether the client is whoever [`peer_alone`](Self::peer_alone) finds, as no proxy is trusted.
    #[allow(dead_code, reason = "a build with few layers has no user for it")]
    pub(crate) fn are_none(&self) -> bool {
        self.nets.is_empty() && !self.wants_heads()
    }

    /// The peer, where it is the client; `None` if that needs a closer look.
    #[allow(dead_code, reason = "a build with few layers has no user for it")]
    #[inline(always)]
    pub(crate) fn peer_alone(extensions: &Extensions) -> Option<IpAddr> {
        let PeerAddr(peer) = extensions.get()?;
        // Whoever takes the look that is due counts it.
        passes_unlooked().then(|| peer.ip())
    }

    /// Whether [`client_in`](Self::client_in) will not do.
    #[allow(dead_code, reason = "a build with few layers has no user for it")]
    pub(crate) fn wants_heads(&self) -> bool {
        self.peer.is_some()
    }

    #[inline]
    fn client_behind(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let Some(peer) = peer else {
            warn_that_no_peer_is_known();
            return None;
        };
        if self.nets.is_empty() {
            warn_if_forwarded(headers);
            return Some(peer);
        }
        Some(self.walk(peer, headers))
    }

    /// Whether the peer of this request is a trusted proxy.
    #[must_use]
    pub fn trusts_peer_of(&self, head: &request::Parts) -> bool {
        !self.nets.is_empty() && self.peer(head).is_some_and(|peer| self.trusts(peer))
    }

    fn peer(&self, head: &request::Parts) -> Option<IpAddr> {
        match &self.peer {
            None => peer_in(&head.extensions),
            Some(peer) => Some(peer(head)?.ip().to_canonical()),
        }
    }

    fn trusts(&self, addr: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&addr))
    }

    /// The walk from right to left. It ends at the first address that is not trusted, at the first element that names
    /// no address (`unknown`, `_hidden`, nonsense), or at the left end: whoever is reached then is the client.
    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_forwarded = self.field == header::FORWARDED;
        let mut reached = peer;
        for line in headers.get_all(&self.field).iter().rev() {
            let mut rest = Some(line.as_bytes());
            while let Some(line) = rest {
                if !self.trusts(reached) {
                    return reached;
                }
                let element;
                (rest, element) = split_last(line, is_forwarded);
                let Ok(element) = std::str::from_utf8(element) else { return reached };
                if element.trim().is_empty() {
                    continue;
                }
                let node = if is_forwarded { for_parameter(element) } else { Some(element.trim()) };
                let Some(addr) = node.and_then(parse_node) else { return reached };
                reached = addr;
            }
        }
        reached
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedProxies").field("nets", &self.nets).field("field", &self.field).finish()
    }
}

// ===== impl CidrError =====

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a network: write an address and a prefix length, such as 10.0.0.0/8 or fd00::/8",
            self.given
        )
    }
}

impl std::error::Error for CidrError {}

// ===== reading addresses =====

#[inline(always)]
fn peer_in(extensions: &Extensions) -> Option<IpAddr> {
    Some(extensions.get::<PeerAddr>()?.0.ip().to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn parse_net(given: &str) -> Result<IpNet, CidrError> {
    given
        .parse::<IpNet>()
        .or_else(|_| given.parse::<IpAddr>().map(IpNet::from))
        .map(|net| canonical(net).trunc())
        .map_err(|_| CidrError { given: given.to_owned() })
}

/// Addresses are compared in canonical form, so a network of mapped addresses is one of IPv4.
fn canonical(net: IpNet) -> IpNet {
    match net.addr().to_canonical() {
        addr @ IpAddr::V4(_) if net.addr().is_ipv6() => {
            net.prefix_len().checked_sub(96).and_then(|prefix| IpNet::new(addr, prefix).ok()).unwrap_or(net)
        }
        _ => net,
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4), without its quotes. None of an element that names
/// two, or whose quotes do not end: part of it is what somebody made a proxy write.
fn for_parameter(element: &str) -> Option<&str> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let pair;
        (pair, rest) = split_first_pair(pairs)?;
        let Some((name, value)) = pair.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// The first pair of an element, and what stands after it. A semicolon in a quoted string is no end: there stands what
/// a client has sent, in `host` say.
fn split_first_pair(element: &str) -> Option<(&str, Option<&str>)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in element.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b';' if !is_quoted => return Some((&element[..at], Some(&element[at + 1..]))),
            _ => {}
        }
    }
    (!is_quoted).then_some((element, None))
}

/// The last element of a list, and what stands before it. A comma in a quoted string is no end, where there are such
/// strings. Read from the right, so that nothing that stands further left can change where the last one begins.
fn split_last(list: &[u8], with_quotes: bool) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for at in (0..list.len()).rev() {
        match list[at] {
            b'"' if with_quotes => {
                let escapes = list[..at].iter().rev().take_while(|b| **b == b'\\').count();
                if escapes % 2 == 0 {
                    quoted = !quoted;
                }
            }
            b',' if !quoted => return (Some(&list[..at]), &list[at + 1..]),
            _ => {}
        }
    }
    (None, list)
}

/// An address as proxies write it: bare, with a port, in brackets, with a zone id.
fn parse_node(node: &str) -> Option<IpAddr> {
    let host = if let Some(rest) = node.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        if !(port.is_empty() || port.starts_with(':')) {
            return None;
        }
        host
    } else if let Some((host, _port)) = node.split_once(':').filter(|(_, port)| !port.contains(':')) {
        host
    } else {
        node
    };
    let host = host.split_once('%').map_or(host, |(host, _zone)| host);
    host.parse().ok().map(|addr: IpAddr| addr.to_canonical())
}

// ===== warnings, once each =====

fn warn_that_no_peer_is_known() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "no peer address is known, so clients cannot be told apart: serve axum with \
             bartizan::bridge::axum::with_peer_addr(app), or insert bartizan::PeerAddr into each request"
        );
    }
}

/// Forwarding fields come, and nobody is trusted: most likely a proxy stands in front and all its clients look like one.
/// Looks at the first requests of each thread and then at one in 64, until it has warned.
#[inline]
fn warn_if_forwarded(headers: &HeaderMap) {
    if !passes_unlooked() {
        look_for_forwarding(headers);
    }
}

#[cold]
fn look_for_forwarding(headers: &HeaderMap) {
    if (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED))
        && !WARNED_OF_FORWARDED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            "requests carry X-Forwarded-For or Forwarded, but no proxy is trusted, so everybody behind one proxy counts \
             as one client: if the proxy is yours, name it, with TrustedProxies::new([\"10.0.0.0/8\"]) or bartizan proxy \
             --trust 10.0.0.0/8"
        );
    }
    UNTIL_LOOK.set(match FIRST_LOOKS.get() {
        _ if WARNED_OF_FORWARDED.load(Ordering::Relaxed) => u32::MAX,
        0 => 63,
        more => {
            FIRST_LOOKS.set(more - 1);
            0
        }
    });
}

thread_local! {
    /// How many requests still pass before one is looked at.
    static UNTIL_LOOK: Cell<u32> = const { Cell::new(0) };
    /// How many requests are still looked at one after the other.
    static FIRST_LOOKS: Cell<u32> = const { Cell::new(63) };
}
static WARNED_OF_FORWARDED: AtomicBool = AtomicBool::new(false);

/// Counts a request, unless it is one that [`warn_if_forwarded`] looks at.
#[inline]
fn passes_unlooked() -> bool {
    let next = UNTIL_LOOK.get().checked_sub(1);
    next.inspect(|next| UNTIL_LOOK.set(*next)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    #[test]
    fn the_peer_alone_is_the_client_or_needs_a_closer_look() {
        let head = head("::ffff:192.0.2.1", "x-forwarded-for", &[]);
        let (none, some) = (TrustedProxies::none(), TrustedProxies::new(["10.0.0.0/8"]).expect("a network"));
        UNTIL_LOOK.set(0);
        FIRST_LOOKS.set(63);
        let mut told_at_once = 0;
        for _ in 0..256 {
            if let Some(peer) = TrustedProxies::peer_alone(&head.extensions) {
                assert_eq!(Some(peer.to_canonical()), none.client(&head));
                told_at_once += 1;
            } else {
                assert_eq!(none.client(&head), Some(ip("192.0.2.1")));
            }
        }
        assert!(none.are_none() && !some.are_none());
        // The first 64 need a closer look, or only the first, if another test has brought the warning about.
        assert!((192..256).contains(&told_at_once), "{told_at_once}");
    }

    fn head(peer: &str, field: &str, lines: &[&str]) -> request::Parts {
        let mut request = Request::builder().extension(PeerAddr(SocketAddr::new(ip(peer), 1)));
        for line in lines {
            request = request.header(field, *line);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn trusting_ten() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "fd00::/8"]).expect("networks")
    }

    #[test]
    fn without_trust_the_client_is_the_peer_whatever_the_fields_say() {
        let head = head("198.51.100.1", "x-forwarded-for", &["203.0.113.7"]);
        assert_eq!(TrustedProxies::none().client(&head), Some(ip("198.51.100.1")));
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client() {
        let head = head("198.51.100.1", "x-forwarded-for", &["203.0.113.7"]);
        assert_eq!(trusting_ten().client(&head), Some(ip("198.51.100.1")));
        assert!(!trusting_ten().trusts_peer_of(&head));
    }

    #[test]
    fn the_walk_goes_right_to_left_over_all_lines_and_stops_at_the_first_stranger() {
        let cases: &[(&[&str], &str)] = &[
            (&["203.0.113.7"], "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
            (&["6.6.6.6", "203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["203.0.113.7", "10.1.1.1"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["fe80::1%eth0"], "fe80::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            (&["203.0.113.7, nonsense"], "10.0.0.1"),
            (&["203.0.113.7, "], "203.0.113.7"),
            (&["203.0.113.7, , 10.0.0.9"], "203.0.113.7"),
            (&["203.0.113.7, unknown, 10.4.4.4"], "10.4.4.4"),
            (&[], "10.0.0.1"),
        ];
        for (lines, client) in cases {
            let head = head("10.0.0.1", "x-forwarded-for", lines);
            assert_eq!(trusting_ten().client(&head), Some(ip(client)), "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_its_grammar_and_alone() {
        let cases: &[(&str, &str)] = &[
            ("for=203.0.113.7;proto=https", "203.0.113.7"),
            ("proto=https; For=\"[2001:db8::1]:4711\";by=10.0.0.1", "2001:db8::1"),
            ("for=6.6.6.6, for=203.0.113.7", "203.0.113.7"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=\"203.0.113.7", "10.0.0.1"),
            ("for=203.0.113.7;host=\"x,for=6.6.6.6;y\";proto=https", "203.0.113.7"),
            ("proto=http;host=\"x;for=6.6.6.6;y\";for=203.0.113.7", "203.0.113.7"),
            ("host=\"x\\\";for=6.6.6.6;y\";for=\"203.0.113.7:80\"", "203.0.113.7"),
            ("host=x;for=6.6.6.6;for=203.0.113.7", "10.0.0.1"),
            ("for=6.6.6.6;host=\"x;for=203.0.113.7", "10.0.0.1"),
        ];
        for (line, client) in cases {
            let mut head = head("10.0.0.1", "forwarded", &[line]);
            head.headers.insert("x-forwarded-for", "6.6.6.6".parse().expect("a value"));
            assert_eq!(trusting_ten().forwarded().client(&head), Some(ip(client)), "{line}");
        }
    }

    #[test]
    fn a_mapped_peer_is_trusted_as_the_ipv4_address_that_it_is() {
        let head = head("::ffff:10.0.0.1", "x-forwarded-for", &["203.0.113.7"]);
        assert_eq!(trusting_ten().client(&head), Some(ip("203.0.113.7")));
    }

    #[test]
    fn a_network_that_cannot_be_read_is_named() {
        let error = TrustedProxies::new(["10.0.0.0/8", "10.0.0.0/33"]).expect_err("33 bits");
        assert!(error.to_string().starts_with("\"10.0.0.0/33\" is not a network"), "{error}");
        assert!(TrustedProxies::new(["::ffff:10.0.0.0/104"]).expect("a network").trusts(ip("10.1.2.3")));
        assert!(TrustedProxies::new(["192.0.2.1"]).expect("an address").trusts(ip("192.0.2.1")));
    }

    proptest! {
        /// Nor does what a client makes the proxy quote, on either side of the address that it notes.
        #[test]
        fn a_host_that_the_client_sent_changes_nothing(
            host in "[!-~ ]{0,40}|[a-z]?(;for=6\\.6\\.6\\.6|, ?for=6\\.6\\.6\\.6|[\"\\\\])[a-z]?", is_first in any::<bool>(),
        ) {
            let host = host.replace('\\', "\\\\").replace('"', "\\\"");
            let line = match is_first {
                true => format!("proto=http;host=\"{host}\";for=203.0.113.7"),
                false => format!("for=203.0.113.7;host=\"{host}\";proto=http"),
            };
            let head = head("10.0.0.1", "forwarded", &[&line]);
            prop_assert_eq!(trusting_ten().forwarded().client(&head), Some(ip("203.0.113.7")), "{}", line);
        }

        /// Whatever a client puts in front of what the trusted proxy appends changes nothing.
        #[test]
        fn a_prefix_that_the_client_wrote_changes_nothing(
            prefix in prop::collection::vec(any::<u8>(), 0..40), own_line in any::<bool>(), rfc in any::<bool>(),
        ) {
            let field = if rfc { "forwarded" } else { "x-forwarded-for" };
            let appended: &[u8] =
                if rfc { b"for=203.0.113.7;host=\"a,b\", for=10.1.1.1" } else { b"203.0.113.7, 10.1.1.1" };
            let joined = [&prefix[..], b", ", appended].concat();
            let lines = if own_line { vec![prefix, appended.to_vec()] } else { vec![joined] };
            let mut head = head("10.0.0.1", field, &[]);
            for line in lines {
                let Ok(line) = http::HeaderValue::from_bytes(&line) else { return Ok(()) };
                head.headers.append(field, line);
            }
            let proxies = if rfc { trusting_ten().forwarded() } else { trusting_ten() };
            prop_assert_eq!(proxies.client(&head), Some(ip("203.0.113.7")));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(line in prop::collection::vec(any::<u8>(), 0..60), rfc in any::<bool>()) {
            let Ok(value) = http::HeaderValue::from_bytes(&line) else { return Ok(()) };
            let field = if rfc { "forwarded" } else { "x-forwarded-for" };
            let mut head = head("10.0.0.1", field, &[]);
            head.headers.append(field, value);
            let proxies = if rfc { trusting_ten().forwarded() } else { trusting_ten() };
            prop_assert!(proxies.client(&head).is_some());
        }
    }
}
