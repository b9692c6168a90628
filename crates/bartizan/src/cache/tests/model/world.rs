//! An origin that answers as it is drawn, and everything that it has ever said.

use super::drawn::{Condition, Mood, Visit, What};
use crate::{cache::tests::support::*, shared::wall_now};
use http::{HeaderMap, Method, request::Parts};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
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

impl Taken {
    /// Whether an answer is of that which was purged.
    pub(super) fn hits(&self, made: &Made) -> bool {
        let What { path, tenant, .. } = self.what;
        made.request.uri.path() == path && (tenant.is_empty() || field(&made.request.headers, "x-tenant") == tenant)
    }
}

impl World {
    pub(super) fn origin(&self, moods: Vec<Mood>) -> Origin {
        let (world, born) = (self.clone(), Instant::now());
        Origin::new(move |head, nth| {
            let mood = &moods[nth % moods.len()];
            let text = text(head, born.elapsed(), world.purges.load(SeqCst));
            let reply = reply(head, mood, &text);
            let (status, headers) = reply.told().unwrap_or_default();
            let asked = Instant::now();
            let came = asked + Duration::from_secs(mood.after);
            let made = Made { asked, came, request: head.clone(), status, headers, text, behind: mood.behind };
            world.made.lock().unwrap().push(made);
            reply.after(mood.after)
        })
    }
}

pub(super) fn reply(head: &Parts, mood: &Mood, text: &str) -> Reply {
    if mood.fails {
        return fails();
    }
    let plain = format!("\"{}\"", text.replace(' ', "_"));
    let tag = if mood.tag == "weak" { format!("W/{plain}") } else { plain.clone() };
    let now = wall_now() - Duration::from_secs(mood.behind);
    let common = |mut reply: Reply| {
        reply = reply.with("date", &httpdate::fmt_http_date(now));
        for (name, value) in [("cache-control", mood.control), ("vary", mood.vary), ("cache-tag", head.uri.path())] {
            if !value.is_empty() {
                reply = reply.with(name, value);
            }
        }
        if mood.tag.is_empty() { reply } else { reply.with("etag", &tag) }
    };
    let safe = matches!(head.method, Method::GET | Method::HEAD);
    let is_ok = mood.status == 200;
    if safe && is_ok && !mood.tag.is_empty() && field(&head.headers, "if-none-match").contains(&plain) {
        return common(status(304));
    }
    let mut reply = common(status(mood.status));
    if mood.age > 0 {
        reply = reply.with("age", &mood.age.to_string());
    }
    if let Some(expires) = mood.expires {
        reply = reply.with("expires", &httpdate::fmt_http_date(now + Duration::from_secs(expires)));
    }
    if mood.modified {
        reply = reply.with("last-modified", &httpdate::fmt_http_date(now - Duration::from_secs(500)));
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
