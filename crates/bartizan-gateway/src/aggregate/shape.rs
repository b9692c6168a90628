//! What of a source's answer a frontend gets to see.
//!
//! A shape turns the text of one JSON document into the text of another. What it keeps it copies as it was written, so
//! that a number of any size or precision comes out as it went in.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Which part of a document is kept, and under which names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Where the part stands that is wanted: the path to it.
    pub(crate) target: Vec<String>,
    /// Whether that part is an array, each of whose elements is shaped, or else an object.
    pub(crate) collection: bool,
    /// The fields that are kept, in this order; all if `None`.
    pub(crate) allow: Option<Paths>,
    /// The fields that are dropped, after that.
    pub(crate) deny: Paths,
    /// New names for fields, after that.
    pub(crate) rename: Vec<(String, String)>,
}

/// A set of paths such as `id` and `address.city`. A path goes through arrays: `items.id` is the `id` of each item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Vec<(String, Paths)>);

/// The document is not JSON, or not of the kind that was expected.
#[derive(Debug)]
pub(crate) struct Undecodable;

/// How many arrays and objects on the way to a field may stand in each other.
const DEEPEST: usize = 32;

// ===== impl Paths =====

impl Paths {
    pub(crate) fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut tree = Self::default();
        for path in paths {
            tree.add(path.as_ref().split('.'));
        }
        tree
    }

    /// The names at the top, in the order in which they were given.
    pub(crate) fn top(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A path takes the place of those that go on where it ends: `a` says more than `a.b`.
    fn add<'a>(&mut self, mut path: impl Iterator<Item = &'a str>) {
        let mut tree = self;
        let mut next = path.next();
        while let Some(name) = next {
            next = path.next();
            let at = tree.0.iter().position(|(known, _)| known == name);
            let known = at.is_some();
            let at = at.unwrap_or_else(|| {
                tree.0.push((name.to_owned(), Self::default()));
                tree.0.len() - 1
            });
            tree = &mut tree.0[at].1;
            if known && tree.is_leaf() {
                return;
            }
        }
        tree.0.clear();
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, paths)| paths)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.0.is_empty()
    }
}

// ===== impl Shape =====

impl Shape {
    /// The shaped document. An object that was shaped begins with `{` and ends with `}`, without space around.
    pub(crate) fn apply(&self, document: &[u8]) -> Result<String, Undecodable> {
        let mut part: &RawValue = serde_json::from_slice(document)?;
        for name in &self.target {
            part = object(part)?.remove(name).ok_or(Undecodable)?;
        }
        if kind(part) != if self.collection { b'[' } else { b'{' } {
            return Err(Undecodable);
        }
        let mut out = String::with_capacity(part.get().len());
        self.write(part, &mut out)?;
        Ok(out)
    }

    fn write(&self, part: &RawValue, out: &mut String) -> Result<(), Undecodable> {
        if !self.collection {
            return self.write_fields(part, out);
        }
        if self.allow.is_none() && self.deny.is_leaf() && self.rename.is_empty() {
            out.push_str(part.get());
            return Ok(());
        }
        let elements: Vec<&RawValue> = serde_json::from_str(part.get())?;
        write_list('[', elements, ']', out, |element, out| self.write_fields(element, out).map(|()| true))
    }

    /// Writes one object under the rules of the top level, which alone know new names.
    fn write_fields(&self, part: &RawValue, out: &mut String) -> Result<(), Undecodable> {
        if self.rename.is_empty() {
            return if write_pruned(part, self.allow.as_ref(), &self.deny, DEEPEST, out)? {
                Ok(())
            } else {
                Err(Undecodable)
            };
        }
        let fields = kept(part, self.allow.as_ref(), &self.deny)?;
        write_list('{', fields, '}', out, |(name, value, allow, deny), out| {
            let new = self.rename.iter().find(|(old, _)| *old == name).map(|(_, new)| new);
            // Another field that has the new name already gives way to the one that is renamed.
            if new.is_none() && self.rename.iter().any(|(_, new)| *new == name) {
                return Ok(false);
            }
            write_field(new.unwrap_or(&name), value, allow, deny, DEEPEST, out)
        })
    }
}

type Field<'a> = (String, &'a RawValue, Option<&'a Paths>, Option<&'a Paths>);

/// Writes a value without what is not allowed or denied; says `false`, and writes nothing, if nothing of it is allowed.
fn write_pruned(
    value: &RawValue,
    allow: Option<&Paths>,
    deny: &Paths,
    depth: usize,
    out: &mut String,
) -> Result<bool, Undecodable> {
    let allow = allow.filter(|allow| !allow.is_leaf());
    if allow.is_none() && deny.is_leaf() {
        out.push_str(value.get());
        return Ok(true);
    }
    let depth = depth.checked_sub(1).ok_or(Undecodable)?;
    match kind(value) {
        b'{' => write_list('{', kept(value, allow, deny)?, '}', out, |(name, value, allow, deny), out| {
            write_field(&name, value, allow, deny, depth, out)
        })?,
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get())?;
            write_list('[', elements, ']', out, |element, out| write_pruned(element, allow, deny, depth, out))?;
        }
        // A field of it is allowed, and it has none. `null` gives nothing away.
        kind if allow.is_some() && kind != b'n' => return Ok(false),
        _ => out.push_str(value.get()),
    }
    Ok(true)
}

fn write_field(
    name: &str,
    value: &RawValue,
    allow: Option<&Paths>,
    deny: Option<&Paths>,
    depth: usize,
    out: &mut String,
) -> Result<bool, Undecodable> {
    out.push_str(&serde_json::to_string(name)?);
    out.push(':');
    write_pruned(value, allow, deny.unwrap_or(&Paths(Vec::new())), depth, out)
}

/// The fields of an object that are allowed and not denied as a whole: in the order of `allow`, or else sorted.
fn kept<'a>(value: &'a RawValue, allow: Option<&'a Paths>, deny: &'a Paths) -> Result<Vec<Field<'a>>, Undecodable> {
    let mut fields = object(value)?;
    let fields: Vec<Field<'a>> = match allow {
        None => fields.into_iter().map(|(name, value)| (name, value, None, None)).collect(),
        Some(allow) => allow
            .0
            .iter()
            .filter_map(|(name, below)| Some((name.clone(), fields.remove(name)?, Some(below), None)))
            .collect(),
    };
    Ok(fields
        .into_iter()
        .filter_map(|(name, value, allow, _)| match deny.get(&name) {
            Some(below) if below.is_leaf() => None,
            below => Some((name, value, allow, below)),
        })
        .collect())
}

/// Writes items with commas between them. An item that says `false` is taken back.
fn write_list<T>(
    open: char,
    items: Vec<T>,
    close: char,
    out: &mut String,
    mut write: impl FnMut(T, &mut String) -> Result<bool, Undecodable>,
) -> Result<(), Undecodable> {
    out.push(open);
    let mut first = true;
    for item in items {
        let before = out.len();
        if !first {
            out.push(',');
        }
        if write(item, out)? {
            first = false;
        } else {
            out.truncate(before);
        }
    }
    out.push(close);
    Ok(())
}

/// The fields of an object; of a name that comes twice, the last.
fn object(value: &RawValue) -> Result<BTreeMap<String, &RawValue>, Undecodable> {
    Ok(serde_json::from_str(value.get())?)
}

/// The first byte of a value, which tells what kind it is.
fn kind(value: &RawValue) -> u8 {
    value.get().bytes().next().unwrap_or_default()
}

impl From<serde_json::Error> for Undecodable {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests;
