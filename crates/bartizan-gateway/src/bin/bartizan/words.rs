//! The words of a command line, and what they mean as values. The demo reads its own by this, too.

use std::{fmt::Display, iter::Peekable, ops::RangeInclusive, str::FromStr, time::Duration, vec::IntoIter};

/// The words of the command line, one after the other. `--flag=value` is two of them.
pub(crate) struct Words {
    left: Peekable<IntoIter<String>>,
    /// The flag that came last, and its value if that is a part of the same word.
    attached: Option<(String, Option<String>)>,
}

// ===== impl Words =====

impl Words {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self { left: words.collect::<Vec<_>>().into_iter().peekable(), attached: None }
    }

    /// The next flag, or word on its own.
    pub(crate) fn next(&mut self) -> Result<Option<String>, String> {
        if let Some((flag, Some(value))) = self.attached.take() {
            return Err(format!("{flag} takes no value, so {value:?} is one too many"));
        }
        let Some(word) = self.left.next() else { return Ok(None) };
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        self.attached = Some((flag.clone(), value));
        Ok(Some(flag))
    }

    /// The value of the flag that came last.
    pub(crate) fn value(&mut self) -> Result<String, String> {
        let (flag, value) = self.attached.take().unwrap_or_default();
        // A flag is no value of the flag before it.
        let value = value.or_else(|| self.left.next_if(|next| !next.starts_with("--")));
        let value = value.ok_or_else(|| format!("{flag} needs a value"))?;
        self.attached = Some((flag, None));
        Ok(value)
    }

    /// The value as `read` understands it. `takes` says what it should be.
    pub(crate) fn read<T>(&mut self, takes: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let value = self.value()?;
        let flag = self.attached.as_ref().map_or("", |(flag, _)| flag);
        read(&value).ok_or_else(|| format!("{flag} takes {takes}, not {value:?}"))
    }

    pub(crate) fn number<N: FromStr + PartialOrd + Display>(&mut self, range: RangeInclusive<N>) -> Result<N, String> {
        let takes = format!("a number from {} to {}", range.start(), range.end());
        self.read(&takes, |value| value.parse().ok().filter(|number| range.contains(number)))
    }

    pub(crate) fn time(&mut self, max: Duration) -> Result<Duration, String> {
        let takes = format!("a time such as 800ms, 15s or 2m, of {max:?} at most");
        self.read(&takes, |value| time(value).filter(|time| !time.is_zero() && *time <= max))
    }
}

/// `800ms`, `1.5s` or `2m`.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.,
        "m" => 60.,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}
