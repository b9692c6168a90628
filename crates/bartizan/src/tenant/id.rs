//! How a tenant is called.

use std::{
    borrow::Borrow,
    convert::Infallible,
    error::Error,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

/// The name of a tenant: 1 to 63 of `a-z 0-9 -`, with no hyphen at either end.
///
/// That is a label of a domain name in its one canonical spelling, so a name is safe in a host, a path, a key, a file
/// name and a log. A clone shares its bytes.
///
/// ```
/// use bartizan::tenant::TenantId;
///
/// assert_eq!(TenantId::new("acme-2")?.as_str(), "acme-2");
/// assert!(TenantId::new("Acme").is_err());
/// assert!(TenantId::new("-acme").is_err());
/// # Ok::<(), bartizan::tenant::InvalidTenantId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A name that no tenant can have. It does not hold the name, so that nobody repeats it to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTenantId(());

/// The longest label of a domain name (RFC 1035 §2.3.4).
const LONGEST: usize = 63;

// ===== impl TenantId =====

impl TenantId {
    /// Takes a valid name.
    ///
    /// # Errors
    /// If it is anything else than 1 to 63 of `a-z 0-9 -`, or has a hyphen at either end.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidTenantId> {
        let name = name.as_ref();
        if is_valid(name.as_bytes()) { Ok(Self(name.into())) } else { Err(InvalidTenantId(())) }
    }

    /// The name that [`is_valid`] has passed.
    pub(super) fn of_valid(name: &[u8]) -> Self {
        Self(str::from_utf8(name).expect("a valid name is ASCII").into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as shared text.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Whether a tenant can have this name.
#[inline]
pub(super) fn is_valid(name: &[u8]) -> bool {
    (1..=LONGEST).contains(&name.len())
        && name[0] != b'-'
        && name[name.len() - 1] != b'-'
        && name.iter().all(|&byte| IN_NAMES[usize::from(byte)])
}

/// Which bytes a name is made of, as a table: every request's name is looked through.
#[allow(clippy::cast_possible_truncation, reason = "bytes count up to 255")]
const IN_NAMES: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'-');
        byte += 1;
    }
    plain
};

/// A map is searched with the bytes of a field, without making them a `str` first.
impl Borrow<[u8]> for TenantId {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Hash for TenantId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({self})")
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;

    fn from_str(name: &str) -> Result<Self, InvalidTenantId> {
        Self::new(name)
    }
}

impl TryFrom<&str> for TenantId {
    type Error = InvalidTenantId;

    fn try_from(name: &str) -> Result<Self, InvalidTenantId> {
        Self::new(name)
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenantId;

    fn try_from(name: String) -> Result<Self, InvalidTenantId> {
        Self::new(name)
    }
}

// ===== impl InvalidTenantId =====

impl fmt::Display for InvalidTenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a tenant is 1 to {LONGEST} of a-z, 0-9 and -, with no - at either end")
    }
}

impl Error for InvalidTenantId {}

impl From<Infallible> for InvalidTenantId {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
