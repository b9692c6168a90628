//! What was seen of some answers, in few words.

use super::stage::Answer;
use crate::load::Tally;
use http::StatusCode;
use std::{collections::BTreeMap, time::Duration};

pub(super) fn all(answers: &[Answer], is: impl Fn(&Answer) -> bool) -> bool {
    !answers.is_empty() && answers.iter().all(is)
}

/// Whether the breaker answered in the service's place.
pub(super) fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.json["code"] == "breaker_open"
}

/// Whether a dashboard has all orders that it shows.
pub(super) fn has_orders(answer: &Answer) -> bool {
    answer.json["orders"].as_array().is_some_and(|orders| orders.len() == 20)
}

pub(super) fn retry_after(answer: &Answer) -> u64 {
    let field = answer.headers.get("retry-after").and_then(|value| value.to_str().ok());
    field.and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

pub(super) fn slowest(answers: &[Answer]) -> Duration {
    answers.iter().map(|answer| answer.took).max().unwrap_or_default()
}

pub(super) fn median(answers: &[Answer]) -> Duration {
    let mut all: Vec<_> = answers.iter().map(|answer| answer.took).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// `200 x5, 429 x7`.
pub(super) fn statuses(answers: &[Answer]) -> String {
    counted(answers.iter().map(|answer| answer.status.as_str().to_owned()))
}

/// `user ok x20; orders ok x20; recommendations fallback x3, ok x17`.
pub(super) fn sources(answers: &[Answer]) -> String {
    ["user", "orders", "notifications", "recommendations"].map(|name| of_source(answers, name)).join("; ")
}

pub(super) fn of_source(answers: &[Answer], name: &str) -> String {
    format!("{name} {}", counted(answers.iter().map(|answer| answer.source(name).to_owned())))
}

/// `collapsed x99, uri-miss x1`.
pub(super) fn cached(answers: &[Answer]) -> String {
    counted(answers.iter().map(|answer| answer.cached().to_owned()))
}

fn counted(words: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts.iter().map(|(word, count)| format!("{word} x{count}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

pub(super) fn percent(tally: &Tally) -> String {
    format!("{:.1} %", 100. * tally.goodput())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use serde_json::{Value, json};

    fn answer(status: u16, json: Value, millis: u64) -> Answer {
        let (status, took) = (StatusCode::from_u16(status).unwrap(), Duration::from_millis(millis));
        Answer { status, headers: HeaderMap::new(), json, took }
    }

    #[test]
    fn few_words_tell_of_many_answers() {
        let source = |source: Value| json!({ "_meta": { "sources": { "user": source } } });
        let answers = [
            answer(200, source(json!({ "status": "ok" })), 5),
            answer(200, source(json!({ "status": "error", "cause": "timeout" })), 150),
            answer(503, json!({ "code": "breaker_open" }), 1),
        ];
        assert_eq!(statuses(&answers), "200 x2, 503 x1");
        assert_eq!(of_source(&answers, "user"), "user absent x1, ok x1, timeout x1");
        assert_eq!((median(&answers), slowest(&answers)), (Duration::from_millis(5), Duration::from_millis(150)));
        assert!(is_refused(&answers[2]) && !is_refused(&answers[0]));
    }

    #[test]
    fn what_the_cache_says_is_told_in_a_word() {
        let said = |said: &'static str| {
            let mut answer = answer(200, Value::Null, 1);
            answer.headers.insert("cache-status", said.parse().unwrap());
            answer
        };
        let answers = [
            said("bartizan; fwd=uri-miss; stored; ttl=5"),
            said("bartizan; fwd=uri-miss; collapsed; ttl=5"),
            said("bartizan; hit; ttl=4"),
            said("bartizan; hit; ttl=-4"),
            said("bartizan; fwd=stale; ttl=-40; detail=breaker-open"),
            answer(200, Value::Null, 1),
        ];
        assert_eq!(cached(&answers), "collapsed x1, hit x1, nothing x1, stale x2, uri-miss x1");
    }

    #[test]
    fn nothing_is_true_of_no_answers() {
        assert!(!all(&[], |_| true));
        assert!(!is_refused(&answer(503, json!({ "code": "timeout" }), 1)), "503 is not always a breaker");
    }
}
