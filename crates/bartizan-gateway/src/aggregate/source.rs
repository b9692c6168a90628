//! One service that an aggregate asks, and what becomes of its answer.

use super::shape::{Paths, Shape};
use std::time::Duration;

/// One call of an aggregate: where it goes, how long it may take, and what of its answer is kept.
///
/// The answer has to be a JSON object (an array, if it is a [`collection`](Self::collection)) with a status of 2xx.
/// By default all of it is kept, and stands under the source's name. What is kept is copied as it was written, so that
/// numbers of any size survive.
///
/// ```
/// use bartizan_gateway::Source;
/// use std::time::Duration;
///
/// let orders = Source::get("orders", "http://127.0.0.1:7102/orders?user={user}&limit=20")
///     .within(Duration::from_millis(500))
///     .collection()
///     .allow(["id", "total", "address.city"])
///     .rename("total", "total_cents");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a source does nothing until it is part of an `Aggregate`"]
pub struct Source {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) required: bool,
    pub(super) within: Duration,
    pub(super) max_bytes: usize,
    pub(super) shape: Shape,
    pub(super) place: Place,
}

/// Where the answer of a source stands in the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// As one member.
    Member(String),
    /// Its fields beside those of the other sources.
    Inline,
}

impl Source {
    /// A source that is asked with `GET`.
    ///
    /// In the URL, `{name}` is the place of a parameter of the route, in the path or the query. Its value is
    /// percent-encoded, so that it cannot leave its place. The defaults: optional, one second, one mebibyte.
    pub fn get(name: impl Into<String>, url: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            place: Place::Member(name.clone()),
            name,
            url: url.into(),
            required: false,
            within: Duration::from_secs(1),
            max_bytes: 1024 * 1024,
            shape: Shape::default(),
        }
    }

    /// There is no answer without this source: if it fails, the whole fails, at once.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The time that the call may take, from connecting to the last byte. One second, if nothing is said. An endpoint that
    /// has not answered by then was too slow, and its breaker counts that.
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// How long the answer's body may be. 1 MiB, if nothing is said.
    pub fn max_bytes(mut self, max: usize) -> Self {
        self.max_bytes = max;
        self
    }

    /// The source answers with an array, and what is said of fields holds for each of its elements.
    pub fn collection(mut self) -> Self {
        self.shape.collection = true;
        self
    }

    /// Takes the part at this path, such as `data.items`, for the answer.
    pub fn target(mut self, path: &str) -> Self {
        self.shape.target = path.split('.').map(str::to_owned).collect();
        self
    }

    /// Keeps these fields and no others, in this order. There has to be one.
    ///
    /// `address.city` is a field of a field, or of each element if `address` holds an array.
    pub fn allow<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.shape.allow = Some(Paths::new(paths));
        self
    }

    /// Drops these fields.
    pub fn deny<P: AsRef<str>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.shape.deny = Paths::new(paths);
        self
    }

    /// Gives a field of the top level another name; `allow` and `deny` know the old one.
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.shape.rename.push((from.into(), to.into()));
        self
    }

    /// Puts the answer under this name instead of the source's.
    pub fn group(mut self, member: impl Into<String>) -> Self {
        self.place = Place::Member(member.into());
        self
    }

    /// Puts the answer's fields beside those of the other sources. They have to be listed with `allow`, so that two
    /// sources can never write the same one.
    pub fn inline(mut self) -> Self {
        self.place = Place::Inline;
        self
    }

    /// The members that this source writes into the whole.
    pub(super) fn members(&self) -> Result<Vec<String>, &'static str> {
        match &self.place {
            Place::Member(name) => Ok(vec![name.clone()]),
            Place::Inline if self.shape.collection => Err("a collection is an array and can't be inlined"),
            Place::Inline => {
                let allow = self.shape.allow.as_ref();
                let allow = allow.ok_or("its fields are inlined, so they have to be listed with `allow`")?;
                Ok(allow.top().map(|name| self.renamed(name).to_owned()).collect())
            }
        }
    }

    /// Whether its rules contradict each other.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let renames = &self.shape.rename;
        for (index, (from, to)) in renames.iter().enumerate() {
            if renames[..index].iter().any(|(earlier, _)| earlier == from) {
                return Err("a field is renamed twice");
            }
            if renames[..index].iter().any(|(_, earlier)| earlier == to) {
                return Err("two fields are given the same new name");
            }
            if self.shape.allow.as_ref().is_some_and(|allow| !allow.top().any(|name| name == from)) {
                return Err("a field is renamed that `allow` does not list");
            }
        }
        if let Some(allow) = &self.shape.allow {
            if allow.is_leaf() {
                return Err("`allow` lists no field, so nothing of it would be left");
            }
            let mut names: Vec<_> = allow.top().map(|name| self.renamed(name)).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("a field is given the name of another that `allow` lists");
            }
        }
        Ok(())
    }

    fn renamed<'a>(&'a self, name: &'a str) -> &'a str {
        self.shape.rename.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to)
    }
}
