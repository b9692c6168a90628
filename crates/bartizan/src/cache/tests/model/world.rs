//! An origin that answers as it is drawn, and everything that it has ever said.

use super::drawn::{Condition, Mood, Visit, What};
use crate::{cache::tests::support::*, shared::wall_now};
use http::{HeaderMap, Method, request::Parts};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// One answer of the origin, and what it was asked.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) asked: Instant,
    pub(super) came: Instant,
    pub(super) request: Parts,
    /// 0 if it failed.
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// All of it, however much was sent.
    pub(super) text: String,
    pub(super) behind: u64,
}

/// Something that was purged.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) what: What,
    pub(super) is_soft: bool,
}

#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) made: Arc<Mutex<Vec<Made>>>,
    pub(super) purges: Arc<AtomicUsize>,
}

pub(super) fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Who and what a representation is for; it changes every forty seconds, and with each purge.
pub(super) fn text(head: &Parts, at: Duration, purges: usize) -> String {
    let (tenant, kind) = (field(&head.headers, "x-tenant"), field(&head.headers, "x-kind"));
    let (name, cookie) = (field(&head.headers, "authorization"), field(&head.headers, "cookie"));
    format!("{} {tenant} {kind} [{name}] [{cookie}] {} {purges}", head.uri.path(), at.as_secs() / 40)
}

/// When a representation was changed last. Those for others may have changed in the same second, or before it: to an
/// origin that is asked with their date, ours has not changed since.
fn changed(head: &Parts, at: Duration, purges: usize) -> Duration {
    let is_other = |name: &str, value: &str| u64::from(field(&head.headers, name) == value);
    let before = 3 * is_other("x-kind", "2") + 5 * is_other("cookie", "bob") + 5 * is_other("authorization", "bob");
    Duration::from_secs(at.as_secs() / 40 * 40 + purges as u64 + 100 - before)
}

impl Taken {
    /// Whether an answer is of that which was purged.
    pub(super) fn hits(&self, made: &Made) -> bool {
        let What { path, tenant, .. } = self.what;
        made.request.uri.path() == path && (tenant.is_empty() || field(&made.request.headers, "x-tenant") == tenant)
    }
}

impl World {
    pub(super) fn origin(&self, moods: Vec<Mood>) -> Origin {
        let (world, born, began) = (self.clone(), Instant::now(), wall_now() - Duration::from_secs(500));
        Origin::new(move |head, nth| {
            let mood = &moods[nth % moods.len()];
            let (at, purges) = (born.elapsed(), world.purges.load(SeqCst));
            let text = text(head, at, purges);
            let reply = reply(head, mood, &text, began + changed(head, at, purges));
            let (status, headers) = reply.told().unwrap_or_default();
            let asked = Instant::now();
            let came = asked + Duration::from_secs(mood.after);
            let made = Made { asked, came, request: head.clone(), status, headers, text, behind: mood.behind };
            world.made.lock().unwrap().push(made);
            reply.after(mood.after)
        })
    }
}

pub(super) fn reply(head: &Parts, mood: &Mood, text: &str, changed: SystemTime) -> Reply {
    if mood.fails {
        return fails();
    }
    let plain = format!("\"{}\"", text.replace(' ', "_"));
    let tag = if mood.tag == "weak" { format!("W/{plain}") } else { plain.clone() };
    let now = wall_now() - Duration::from_secs(mood.behind);
    let common = |mut reply: Reply| {
        reply = reply.with("date", &httpdate::fmt_http_date(now));
        for (name, value) in [("cache-control", mood.control), ("vary", mood.vary)] {
            if !value.is_empty() {
                reply = reply.with(name, value);
            }
        }
        if mood.tag.is_empty() { reply } else { reply.with("etag", &tag) }
    };
    // What only one of the fields says anew leaves the tags that the others have named.
    let tagged = |reply: Reply| match mood.tagged {
        "cache-tag" => reply.with("cache-tag", head.uri.path()),
        "surrogate-key" => reply.with("surrogate-key", "more"),
        _ => reply,
    };
    let safe = matches!(head.method, Method::GET | Method::HEAD);
    let is_ok = mood.status == 200;
    if safe && is_ok && !mood.tag.is_empty() && field(&head.headers, "if-none-match").contains(&plain) {
        return tagged(common(status(304)));
    }
    // RFC 9110 §13.1.3: a date is compared with what this client would get, and only if nothing else is.
    let since = httpdate::parse_http_date(field(&head.headers, "if-modified-since"));
    let is_unchanged = !head.headers.contains_key("if-none-match") && since.is_ok_and(|since| changed <= since);
    if safe && is_ok && mood.modified && is_unchanged {
        let reply = tagged(common(status(304)));
        return if mood.body > 3 { reply } else { reply.with("last-modified", &httpdate::fmt_http_date(changed)) };
    }
    let mut reply = common(status(mood.status)).with("cache-tag", head.uri.path());
    if mood.names_itself {
        reply = reply.with("content-location", head.uri.path());
    }
    if mood.age > 0 {
        reply = reply.with("age", &mood.age.to_string());
    }
    if let Some(expires) = mood.expires {
        reply = reply.with("expires", &httpdate::fmt_http_date(now + Duration::from_secs(expires)));
    }
    if mood.modified {
        reply = reply.with("last-modified", &httpdate::fmt_http_date(changed));
    }
    if mood.sets_cookie {
        let whose = format!("for={}{}", field(&head.headers, "authorization"), field(&head.headers, "cookie"));
        reply = reply.with("set-cookie", &whose);
    }
    if head.method == Method::HEAD {
        return reply.with("content-length", &text.len().to_string());
    }
    let range = field(&head.headers, "range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    // RFC 9110 §13.1.5: a part of something else is no use to whoever asks.
    let if_range = field(&head.headers, "if-range");
    let is_of_this = if_range.is_empty() || (mood.tag == "strong" && if_range == tag);
    if let Some((first, last)) = range.filter(|_| is_ok && is_of_this && head.method == Method::GET && mood.body > 1) {
        let (first, last) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), last) => (first, last.map_or(text.len(), |last| last + 1)),
            (Err(_), last) => (text.len() - last.unwrap(), text.len()),
        };
        *reply.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        let said = format!("bytes {first}-{}/{}", last - 1, text.len());
        return reply.with("content-range", &said).sized(&text[first..last]);
    }
    let (begin, end) = text.split_at(text.len() / 2);
    match mood.body {
        0 => reply.body(begin).breaks(),
        1 => reply.with("content-length", &text.len().to_string()).body(begin).pause(1).breaks(),
        2 => reply.body(begin).pause(2).body(end),
        3 => reply.with("content-length", &text.len().to_string()).body(begin).pause(2).body(end),
        4 | 5 => reply.body(text),
        _ => reply.sized(text),
    }
}

pub(super) fn ask(visit: &Visit, number: usize, at: Duration, purges: usize) -> Ask {
    let mut request = request(visit.method, visit.path).with("x-tenant", visit.tenant).with("x-kind", visit.kind);
    request = request.with("x-n", &number.to_string());
    for (name, value) in [
        ("authorization", visit.authorization),
        ("cookie", visit.cookie),
        ("range", visit.range),
        ("cache-control", visit.control),
        ("x-leaves", if visit.leaves.is_some() { "1" } else { "" }),
    ] {
        if !value.is_empty() {
            request = request.with(name, value);
        }
    }
    let (head, body) = request.into_parts();
    let tag = format!("\"{}\"", text(&head, at, purges).replace(' ', "_"));
    let request = http::Request::from_parts(head, body);
    match visit.condition {
        Condition::None => request,
        Condition::Own => request.with("if-none-match", &tag),
        Condition::Other => request.with("if-none-match", "\"other\""),
        Condition::Any if visit.method == "GET" => request.with("if-none-match", "*"),
        Condition::Any => request,
        Condition::Since => request.with("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT"),
    }
}
