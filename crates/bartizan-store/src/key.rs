//! Whose bucket, whose entry: a key that is always short and printable.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What a bucket or an entry is kept under: a client, a tenant, a route, or several of them together.
///
/// A key is at most 62 bytes, held in place, so making, hashing and passing one allocates nothing. Text is escaped so
/// that the key prints safely anywhere, and text that would be too long is replaced by the first 128 bits of its
/// SHA-256: different texts stay different, and a secret that long is never stored. Escaping is one to one, so nobody
/// can write a value that passes for another key.
///
/// ```
/// use bartizan_store::Key;
///
/// assert_eq!(Key::new("acme").to_string(), "acme");
/// assert_eq!(Key::new("a|b\n").to_string(), "a%7Cb%0A");
/// assert_eq!(Key::ip("2001:db8::1".parse()?).to_string(), "ip=2001:db8::/64");
/// assert_eq!(Key::join([Key::new("acme"), Key::new("/orders")]).to_string(), "acme|/orders");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// What kind of key it is, its length, and its bytes; those past the length are zero.
    raw: [u8; 64],
}

const LONGEST: usize = 62;

const TEXT: u8 = 0;
const IPV4: u8 = 1;
const IPV6_NET: u8 = 2;
const DIGEST: u8 = 3;
const JOINED: u8 = 4;
const NETWORK: u8 = 5;

impl Key {
    /// The key of everybody: one bucket for all.
    pub const GLOBAL: Self = Self { raw: [0; 64] };

    pub(crate) const MOST_WORDS: usize = 8;

    /// A key of any text, or any bytes.
    #[must_use]
    pub fn new(text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        if text.len() <= LONGEST && text.iter().all(|&b| is_plain(b)) {
            return Self::of(TEXT, text);
        }
        let mut escaped = SmallVec::<[u8; 128]>::new();
        escape(text, &mut escaped);
        Self::of_any_length(TEXT, &escaped)
    }

    /// The key of a client's address. An address of IPv6 counts as its /64, which is what one subscriber is given;
    /// one of IPv4 that is mapped into IPv6 counts as IPv4.
    #[must_use]
    #[inline]
    pub fn ip(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self::of_number(IPV4, 4, u32::from_le_bytes(addr.octets()).into()),
            IpAddr::V6(addr) => Self::of_number(IPV6_NET, 8, u128::from_le_bytes(addr.octets()) & u128::from(u64::MAX)),
        }
    }

    /// The key of the network that an address is in: of as many bits as are said for each family, or all. An address of IPv4
    /// that is mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn network(addr: IpAddr, v4_bits: u8, v6_bits: u8) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => {
                let bits = v4_bits.min(32);
                let net = addr.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                let [a, b, c, d] = net.to_be_bytes();
                Self::of(NETWORK, &[a, b, c, d, bits])
            }
            IpAddr::V6(addr) => {
                let bits = v6_bits.min(128);
                let net = addr.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                let mut bytes = [bits; 17];
                bytes[..16].copy_from_slice(&net.to_be_bytes());
                Self::of(NETWORK, &bytes)
            }
        }
    }

    /// One key of several, in this order: `tenant|route`.
    #[must_use]
    pub fn join<const N: usize>(parts: [Self; N]) -> Self {
        let mut joined = SmallVec::<[u8; 192]>::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                joined.push(b'|');
            }
            let printed = SmallVec::<[u8; 64]>::from_slice(part.bytes());
            let printed = if part.is_text() { printed } else { part.to_string().into_bytes().into() };
            for byte in printed {
                match byte {
                    b'%' => joined.extend_from_slice(b"%25"),
                    b'|' => joined.extend_from_slice(b"%7C"),
                    byte => joined.push(byte),
                }
            }
        }
        Self::of_any_length(JOINED, &joined)
    }

    /// What tells this key from every other, for a hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw[..2 + usize::from(self.raw[1])]
    }

    /// The same as words of eight bytes; the last is filled up with zeros.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        let (words, _) = self.raw.as_chunks();
        words.iter().take(self.as_bytes().len().div_ceil(8)).map(|word| u64::from_le_bytes(*word))
    }

    /// Whether its bytes are what it prints.
    fn is_text(&self) -> bool {
        matches!(self.kind(), TEXT | JOINED)
    }

    fn kind(&self) -> u8 {
        self.raw[0]
    }

    fn bytes(&self) -> &[u8] {
        &self.as_bytes()[2..]
    }

    fn of_any_length(kind: u8, bytes: &[u8]) -> Self {
        if bytes.len() <= LONGEST {
            return Self::of(kind, bytes);
        }
        Self::of(DIGEST, &Sha256::new().chain_update([kind]).chain_update(bytes).finalize()[..16])
    }

    /// A key of at most 14 bytes, the first of them the lowest of a number: what a processor does in two registers.
    #[inline]
    fn of_number(kind: u8, length: u8, bytes: u128) -> Self {
        let number = bytes << 16 | u128::from(length) << 8 | u128::from(kind);
        let mut raw = [0; 64];
        raw[..16].copy_from_slice(&number.to_le_bytes());
        Self { raw }
    }

    #[allow(clippy::cast_possible_truncation, reason = "callers pass at most 62 bytes")]
    fn of(kind: u8, bytes: &[u8]) -> Self {
        let mut raw = [0; 64];
        raw[0] = kind;
        raw[1] = bytes.len() as u8;
        raw[2..2 + bytes.len()].copy_from_slice(bytes);
        Self { raw }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.bytes()) {
            (IPV4, &[a, b, c, d]) => write!(f, "ip={}", Ipv4Addr::new(a, b, c, d)),
            (IPV6_NET, net) => {
                let mut octets = [0; 16];
                octets[..net.len()].copy_from_slice(net);
                write!(f, "ip={}/64", Ipv6Addr::from(octets))
            }
            (NETWORK, &[a, b, c, d, bits]) => write!(f, "ip={}/{bits}", Ipv4Addr::new(a, b, c, d)),
            (NETWORK, net) => {
                let (octets, bits) = net.split_first_chunk::<16>().unwrap_or((&[0; 16], net));
                write!(f, "ip={}/{}", Ipv6Addr::from(*octets), bits.first().unwrap_or(&0))
            }
            (DIGEST, digest) => {
                f.write_str("sha256=")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            (_, text) => text.iter().try_for_each(|&byte| f.write_char(char::from(byte))),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Whether a byte of a text stands for itself. `|` is left to [`Key::join`], `=` to addresses and digests, `%` to the
/// escapes.
fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = b'!';
        while byte <= b'~' {
            plain[byte as usize] = !matches!(byte, b'|' | b'=' | b'%');
            byte += 1;
        }
        plain
    };
    PLAIN[usize::from(byte)]
}

fn escape<const N: usize>(bytes: &[u8], out: &mut SmallVec<[u8; N]>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ipv6_client_counts_as_its_64_and_a_mapped_one_as_ipv4() {
        let ip = |text: &str| Key::ip(text.parse().expect("an address"));
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::9"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_eq!(ip("192.0.2.1").to_string(), "ip=192.0.2.1");
    }

    #[test]
    fn a_network_is_as_wide_as_is_said() {
        let net = |text: &str| Key::network(text.parse().expect("an address"), 24, 48);
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:3::9"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:2:2::1"));
        assert_eq!(net("2001:db8:1:2::1").to_string(), "ip=2001:db8:1::/48");
        assert_eq!(
            (net("192.0.2.1"), net("192.0.2.1").to_string()),
            (net("::ffff:192.0.2.9"), "ip=192.0.2.0/24".into())
        );
        for (bits, told) in [(0, "ip=0.0.0.0/0"), (32, "ip=192.0.2.1/32"), (99, "ip=192.0.2.1/32")] {
            assert_eq!(Key::network([192, 0, 2, 1].into(), bits, 0).to_string(), told);
        }
    }

    #[test]
    fn joining_is_not_confused_by_separators_inside_the_parts() {
        let k = |text: &str| Key::new(text);
        assert_ne!(Key::join([k("a|b"), k("c")]), Key::join([k("a"), k("b|c")]));
        assert_ne!(Key::join([k("a%7Cb"), k("c")]), Key::join([k("a|b"), k("c")]));
        assert_ne!(Key::join([Key::join([k("a"), k("b")]), k("c")]), Key::join([k("a"), Key::join([k("b"), k("c")])]));
        let ip = Key::ip("192.0.2.1".parse().expect("an address"));
        assert_ne!(Key::join([Key::join([k("ip"), k("192.0.2.1")]), k("x")]), Key::join([ip, k("x")]));
        assert_ne!(Key::new("ip=192.0.2.1").to_string(), ip.to_string());
        assert_ne!(Key::join([k("ip"), k("192.0.2.1")]).to_string(), ip.to_string());
        assert_ne!(Key::join([k(&"\n".repeat(30))]), k(&"%0A".repeat(30)));
        assert_ne!(Key::new("ip=192.0.2.1"), Key::ip("192.0.2.1".parse().expect("an address")));
    }

    proptest! {
        #[test]
        fn every_key_prints_short_and_safe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let printed = Key::new(&bytes).to_string();
            prop_assert!(printed.len() <= LONGEST);
            prop_assert!(printed.bytes().all(|b| b.is_ascii_graphic()));
        }

        #[test]
        fn different_texts_are_different_keys_in_memory_and_in_print(
            a in prop::collection::vec(any::<u8>(), 0..80),
            b in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            prop_assert_eq!(a == b, Key::new(&a) == Key::new(&b));
            prop_assert_eq!(a == b, Key::new(&a).to_string() == Key::new(&b).to_string());
        }

        #[test]
        fn different_pairs_are_different_keys(
            a in ("[a|%]{0,4}", "[a|%]{0,4}"),
            b in ("[a|%]{0,4}", "[a|%]{0,4}"),
        ) {
            let join = |(x, y): &(String, String)| Key::join([Key::new(x), Key::new(y)]);
            prop_assert_eq!(a == b, join(&a) == join(&b));
            prop_assert_eq!(a == b, join(&a).to_string() == join(&b).to_string());
        }
    }
}
