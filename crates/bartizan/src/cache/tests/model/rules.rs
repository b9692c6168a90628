//! What may be said, by RFC 9111 as it reads.

use super::world::{Made, Taken, field};
use crate::cache::tests::support::*;
use http::{HeaderMap, Method, request::Parts};
use std::time::SystemTime;
use tokio::time::Instant;

/// A request, from its beginning to its answer.
pub(super) struct Asked {
    pub(super) head: Parts,
    pub(super) begun: Instant,
    pub(super) done: Instant,
    pub(super) is_rfc: bool,
    /// What had been purged before it came.
    pub(super) taken: Vec<Taken>,
}

pub(super) fn has(control: &str, name: &str) -> bool {
    control.split(',').any(|one| one.trim().split('=').next() == Some(name))
}

pub(super) fn seconds(control: &str, name: &str) -> Option<u64> {
    control.split(',').find_map(|one| one.trim().strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// RFC 9111 §3, §3.5, §5.2.2, and what the safe rules add: may it be given to another?
pub(super) fn is_shared(request: &Parts, headers: &HeaderMap, is_rfc: bool) -> bool {
    let control = field(headers, "cache-control");
    let (public, s_maxage) = (has(control, "public"), has(control, "s-maxage"));
    let authorised = public || s_maxage || has(control, "must-revalidate");
    !has(control, "no-store")
        && !has(control, "private")
        && !has(field(&request.headers, "cache-control"), "no-store")
        && (field(&request.headers, "authorization").is_empty() || authorised)
        && (is_rfc || field(&request.headers, "cookie").is_empty() || public || s_maxage)
        && (is_rfc || field(headers, "set-cookie").is_empty() || public)
}

/// RFC 9111 §4.1.
pub(super) fn is_selected(request: &Parts, headers: &HeaderMap, by: &Parts) -> bool {
    field(headers, "vary").split(',').map(str::trim).filter(|name| !name.is_empty()).all(|name| {
        let name = name.to_ascii_lowercase();
        name != "*" && field(&request.headers, &name) == field(&by.headers, &name)
    })
}

/// RFC 9111 §4.2.1, §4.2.2.
pub(super) fn lifetime(status: u16, headers: &HeaderMap, is_rfc: bool) -> u64 {
    let control = field(headers, "cache-control");
    let date = |name: &str| httpdate::parse_http_date(field(headers, name)).ok();
    if let Some(explicit) = seconds(control, "s-maxage").or(seconds(control, "max-age")) {
        return explicit;
    }
    let between = |later: SystemTime, sooner: SystemTime| later.duration_since(sooner).unwrap_or_default().as_secs();
    match (date("expires"), date("date"), date("last-modified")) {
        (Some(expires), Some(date), _) => between(expires, date),
        (None, Some(date), Some(modified))
            if is_rfc && (matches!(status, 200 | 206 | 301 | 404) || has(control, "public")) =>
        {
            between(date, modified) / 10
        }
        _ => 0,
    }
}

/// RFC 9110 §9.3.3, §8.7: the answer to a `POST` that says it is what is there, and for how long.
fn is_post_for_get(made: &Made) -> bool {
    let explicit = ["max-age", "s-maxage"].iter().any(|name| has(field(&made.headers, "cache-control"), name));
    made.request.method == Method::POST
        && (200..300).contains(&made.status)
        && field(&made.headers, "content-location") == made.request.uri.path()
        && (explicit || made.headers.contains_key("expires"))
}

/// RFC 9111 §3.2: what a later answer says of an earlier one.
fn merged(made: &Made, last: &Made) -> HeaderMap {
    let mut headers = made.headers.clone();
    if last.asked != made.asked || last.status == 304 {
        headers.remove("age");
    }
    for (name, value) in &last.headers {
        headers.insert(name, value.clone());
    }
    headers
}

/// Whether an answer of the origin may be the answer to another request, by itself or as a 304 has made it.
pub(super) fn may_answer(world: &[Made], made: &Made, asked: &Asked) -> bool {
    let same = |other: &Made| {
        other.request.uri.path() == asked.head.uri.path()
            && field(&other.request.headers, "x-tenant") == field(&asked.head.headers, "x-tenant")
    };
    let is_get = made.request.method == Method::GET
        || (made.request.method == Method::HEAD && asked.head.method == Method::HEAD)
        || (asked.is_rfc && is_post_for_get(made));
    // Nothing that was there before, and nothing that was on its way.
    let is_purged = asked.taken.iter().any(|taken| !taken.is_soft && taken.hits(made) && made.asked < taken.at);
    // RFC 9111 §4.4: when its answer comes. Of one whose client has left it may never come.
    let is_gone = world.iter().any(|other| {
        same(other)
            && matches!(other.request.method, Method::POST | Method::PUT)
            && !other.request.headers.contains_key("x-leaves")
            && (200..400).contains(&other.status)
            && !std::ptr::eq(other, made)
            && made.asked < other.came
            && other.came < asked.begun
    });
    if !same(made) || !is_get || is_gone || is_purged || made.status == 304 || made.came > asked.done {
        return false;
    }
    let tag = |made: &Made| field(&made.headers, "etag").trim_start_matches("W/").to_owned();
    let own = |other: &Made| field(&other.request.headers, "x-n") == field(&asked.head.headers, "x-n");
    // Itself, and each validation of it: by a 304 (RFC 9111 §4.3.4), or by a `HEAD` that says nothing else (§4.3.5).
    let said_or_not = |other: &Made, name: &str| {
        let said = field(&other.headers, name);
        said.is_empty() || said == field(&made.headers, name)
    };
    let is_head = |other: &Made| {
        other.request.method == Method::HEAD
            && other.status == made.status
            && said_or_not(other, "etag")
            && said_or_not(other, "last-modified")
            && field(&other.headers, "content-length") == made.text.len().to_string()
    };
    // A date names nothing. The one to whom it says something has been told that by what was its own before.
    let is_by_date = |other: &Made| {
        let (is_asked, said) =
            (field(&other.request.headers, "if-modified-since"), field(&made.headers, "last-modified"));
        !said.is_empty() && is_asked == said && field(&made.headers, "etag").is_empty()
    };
    let is_304 = |other: &Made| {
        let is_named = !tag(other).is_empty() && tag(other) == tag(made);
        other.status == 304 && (is_named || is_by_date(other)) && same(other) && other.came >= made.came
    };
    let could_be = |by: &Parts, until: Instant| {
        let is_one_of_theirs = |other: &Made| {
            is_304(other) && other.came <= until && is_selected(&other.request, &merged(made, other), by)
        };
        is_selected(&made.request, &made.headers, by) || world.iter().any(is_one_of_theirs)
    };
    let validates = |other: &&Made| {
        let is_told = is_304(other) && (!is_by_date(other) || could_be(&other.request, other.asked));
        (is_told || (same(other) && is_head(other) && other.came >= made.came)) && other.came <= asked.done
    };
    std::iter::once(made).chain(world.iter().filter(validates)).any(|last| {
        let headers = merged(made, last);
        if last.status == 304 && own(last) {
            // It has just been validated for this very request.
            return is_shared(&made.request, &made.headers, asked.is_rfc);
        }
        let was_on_its_way = |taken: &Taken| taken.hits(made) && last.asked < taken.at && taken.at < last.came;
        if asked.taken.iter().any(was_on_its_way) {
            return false;
        }
        let is_for = is_shared(&made.request, &made.headers, asked.is_rfc)
            && is_shared(&last.request, &headers, asked.is_rfc)
            && is_selected(&last.request, &headers, &asked.head);
        is_for && is_usable(world, made, last, &headers, asked, &same)
    })
}

/// RFC 9111 §4: fresh, or stale where that is allowed. A second more or less is left to other tests.
pub(super) fn is_usable(
    world: &[Made],
    made: &Made,
    last: &Made,
    headers: &HeaderMap,
    asked: &Asked,
    same: &dyn Fn(&Made) -> bool,
) -> bool {
    let control = field(headers, "cache-control");
    let wish = if asked.is_rfc { field(&asked.head.headers, "cache-control") } else { "" };
    let said_lifetime = lifetime(made.status, headers, asked.is_rfc);
    let delay = last.came.saturating_duration_since(last.asked).as_secs();
    let said: u64 = field(headers, "age").parse().unwrap_or(0);
    let age_at = |at: Instant| last.behind.max(said) + delay + at.saturating_duration_since(last.came).as_secs();
    let age = age_at(asked.begun);
    // Purged softly, it was fresh until then at most.
    let softly = asked.taken.iter().filter(|taken| taken.is_soft && taken.hits(made) && last.asked < taken.at);
    let lifetime = softly.map(|taken| age_at(taken.at)).min().map_or(said_lifetime, |until| until.min(said_lifetime));
    let (stale_for, never) = (age.saturating_sub(lifetime), {
        let forbids = ["must-revalidate", "proxy-revalidate", "s-maxage"];
        forbids.iter().any(|name| has(control, name))
    });
    if has(control, "no-cache") || has(wish, "no-cache") {
        return false;
    }
    let failed = |other: &Made| {
        same(other) && matches!(other.status, 0 | 500 | 503) && other.came >= asked.begun && other.came <= asked.done
    };
    if world.iter().any(failed) {
        let day = if said_lifetime > 0 { 24 * 60 * 60 } else { 0 };
        let window =
            seconds(control, "stale-if-error").unwrap_or(day).max(seconds(wish, "stale-if-error").unwrap_or(0));
        if age <= lifetime || (!never && stale_for <= window + 1) {
            return true;
        }
    }
    let is_young = has(control, "immutable") || seconds(wish, "max-age").is_none_or(|most| age <= most + 1);
    let is_fresh_enough = seconds(wish, "min-fresh").is_none_or(|least| age + least <= lifetime + 1);
    let is_stale_enough = || {
        let window = seconds(control, "stale-while-revalidate");
        let wanted = has(wish, "max-stale").then(|| seconds(wish, "max-stale").unwrap_or(u64::MAX - 1));
        window.max(wanted).is_some_and(|window| stale_for <= window + 1)
    };
    is_young && is_fresh_enough && (age <= lifetime || (!never && is_stale_enough()))
}

/// Why an answer must not be given, if it must not.
pub(super) fn wrong(world: &[Made], asked: &Asked, answer: &Result<Answer, Broken>) -> Option<String> {
    let own = || world.iter().filter(|made| field(&made.request.headers, "x-n") == field(&asked.head.headers, "x-n"));
    let Ok(answer) = answer else {
        return own().all(|made| made.status != 0).then(|| "an error that the origin did not have".to_owned());
    };
    let request = &asked.head.headers;
    let is_conditional = request.contains_key("if-none-match") || request.contains_key("if-modified-since");
    match answer.status.as_u16() {
        504 => {
            let is_wanted = has(field(request, "cache-control"), "only-if-cached");
            return (!is_wanted || own().next().is_some()).then(|| "a 504 that nobody wanted".to_owned());
        }
        304 if !is_conditional => return Some("a 304 to one who has said nothing of what it has".to_owned()),
        304 => {
            let (tag, list) =
                (field(&answer.headers, "etag").trim_start_matches("W/"), field(request, "if-none-match"));
            let is_known = list.is_empty() || list == "*" || (!tag.is_empty() && list.contains(tag));
            let is_from = |made: &Made| field(&made.headers, "etag").trim_start_matches("W/") == tag;
            let is_said =
                own().any(is_from) || world.iter().any(|made| is_from(made) && may_answer(world, made, asked));
            return (!is_known || !is_said).then(|| format!("a 304 about {tag:?}"));
        }
        416 => return None,
        _ => {}
    }
    let is_head = asked.head.method == Method::HEAD;
    let is_of = |made: &Made| {
        let Some(body) = &answer.body else {
            let begin = answer
                .one("content-range")
                .strip_prefix("bytes ")
                .map_or(0, |range| range.split_once('-').unwrap().0.parse().unwrap());
            return made.text.as_bytes().get(begin..).is_some_and(|rest| rest.starts_with(&answer.so_far));
        };
        match (answer.status.as_u16(), made.status) {
            _ if is_head => {
                made.text.len().to_string() == answer.one("content-length")
                    || !answer.headers.contains_key("content-length")
            }
            (206, 200 | 206) => {
                let said = answer.one("content-range");
                let range = said.strip_prefix("bytes ").and_then(|said| said.split_once('/')).unwrap();
                let (first, last) = range.0.split_once('-').unwrap();
                let part = made.text.as_bytes().get(first.parse().unwrap()..last.parse::<usize>().unwrap() + 1);
                range.1 == made.text.len().to_string() && part == Some(&body[..])
            }
            (200, 200 | 206) => made.text.as_bytes() == &body[..],
            (one, other) => one == other && (made.text.as_bytes() == &body[..] || body.is_empty()),
        }
    };
    if own().any(|made| made.status != 0 && made.status != 304 && is_of(made)) {
        return None;
    }
    let cookies_of =
        |made: &Made| answer.all("set-cookie").is_empty() || made.headers.get_all("set-cookie").iter().count() > 0;
    if !world.iter().any(|made| made.status != 0 && is_of(made) && cookies_of(made) && may_answer(world, made, asked)) {
        return Some("nothing that was ever said may be this answer".to_owned());
    }
    let age = answer.one("age");
    age.parse::<u64>().is_err().then(|| format!("it is stored, and says that its age is {age:?}"))
}
