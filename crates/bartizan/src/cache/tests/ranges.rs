//! Parts of a representation (RFC 9110 §14, RFC 9111 §3.3, §3.4).

use super::support::*;
use crate::cache::Purge;
use http::{StatusCode, request::Parts};

const TEXT: &str = "0123456789";
const PARTIAL: StatusCode = StatusCode::PARTIAL_CONTENT;

/// An origin as it should be: it heeds conditions first, then `Range` (RFC 9110 §13.2.2).
fn whole_or_part(head: &Parts) -> Reply {
    let base = |status: Reply| status.with("cache-control", "max-age=60").with("etag", "\"e\"");
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    if field("if-none-match").is_some_and(|tags| tags.contains("\"e\"")) {
        return base(status(304));
    }
    let Some(range) = field("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return base(ok()).sized(TEXT);
    };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap_or(TEXT.len() - 1));
    base(status(206)).with("content-range", &format!("bytes {first}-{last}/10")).sized(&TEXT[first..=last])
}

#[tokio::test(start_paused = true)]
async fn ranges_are_cut_from_what_is_stored_whole() {
    let origin = Origin::new(|head, _| whole_or_part(head).with("x-also", "1"));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    for (range, text, said) in
        [("0-3", "0123", "bytes 0-3/10"), ("7-", "789", "bytes 7-9/10"), ("-2", "89", "bytes 8-9/10")]
    {
        let part = send(&cache, get("/").with("range", &format!("bytes={range}"))).await;
        assert_eq!((part.status, part.text(), part.one("content-range").as_str()), (PARTIAL, text, said));
        assert_eq!(part.one("content-length"), text.len().to_string());
        assert_eq!((part.one("x-also").as_str(), part.is_hit()), ("1", true));
    }
    let many = send(&cache, get("/").with("range", "bytes=0-1, 8-9")).await;
    assert!(many.one("content-type").starts_with("multipart/byteranges; boundary="));
    assert_eq!(many.one("content-length"), many.text().len().to_string());
    assert!(many.text().contains("bytes 0-1/10\r\n\r\n01\r\n") && many.text().contains("bytes 8-9/10\r\n\r\n89\r\n"));
    let beyond = send(&cache, get("/").with("range", "bytes=10-")).await;
    assert_eq!(
        (beyond.status, beyond.one("content-range").as_str()),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */10")
    );
    for odd in ["bytes=x", "lines=1-2", "bytes=3-1"] {
        assert_eq!(send(&cache, get("/").with("range", odd)).await.text(), TEXT, "{odd}");
    }
    assert_eq!(send(&cache, get("/").with("range", "bytes=0-1").with("if-range", "\"x\"")).await.text(), TEXT);
    assert_eq!(send(&cache, get("/").with("range", "bytes=0-1").with("if-range", "\"e\"")).await.text(), "01");
    assert_eq!(origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_condition_goes_before_a_range() {
    let origin = Origin::new(|head, _| whole_or_part(head));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let told = send(&cache, get("/").with("range", "bytes=0-1").with("if-none-match", "\"e\"")).await;
    assert_eq!(told.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(start_paused = true)]
async fn a_part_is_stored_and_answers_for_itself_and_no_more() {
    let origin = Origin::new(|head, _| whole_or_part(head));
    let cache = rfc(&origin);
    let ask = |range: &str| get("/").with("range", range);
    let part = send(&cache, ask("bytes=2-5")).await;
    assert_eq!((part.status, part.text(), part.said().as_str()), (PARTIAL, "2345", "fwd=uri-miss; stored; ttl=60"));
    let hit = send(&cache, ask("bytes=3-4")).await;
    assert_eq!((hit.status, hit.text(), hit.one("content-range").as_str()), (PARTIAL, "34", "bytes 3-4/10"));
    assert!(hit.is_hit());
    let more = send(&cache, ask("bytes=5-6")).await;
    assert_eq!((more.status, more.text()), (PARTIAL, "56"));
    let whole = send(&cache, get("/")).await;
    assert_eq!((whole.status, whole.text()), (StatusCode::OK, TEXT));
    assert_eq!(origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn parts_that_are_together_the_whole_answer_for_the_whole() {
    let origin = Origin::new(|head, _| whole_or_part(head));
    let cache = rfc(&origin);
    for (range, text) in [("bytes=0-3", "0123"), ("bytes=4-7", "4567"), ("bytes=6-9", "6789")] {
        let part = send(&cache, get("/").with("range", range)).await;
        assert_eq!((part.status, part.text()), (PARTIAL, text));
    }
    let whole = send(&cache, get("/")).await;
    assert_eq!((whole.status, whole.text(), whole.is_hit()), (StatusCode::OK, TEXT, true));
    assert_eq!(whole.all("content-range"), [""; 0]);
    assert!(["", "10"].contains(&whole.one("content-length").as_str()));
}

/// RFC 9111 §3.4, RFC 9110 §13.1.5: what is there is not asked for again, if it is still a part of the same.
#[tokio::test(start_paused = true)]
async fn only_what_is_missing_of_the_whole_is_asked_for() {
    let origin = Origin::new(|head, _| whole_or_part(head));
    let cache = rfc(&origin);
    send(&cache, get("/").with("range", "bytes=0-6")).await;
    let whole = send(&cache, get("/")).await;
    assert_eq!((whole.status, whole.text()), (StatusCode::OK, TEXT));
    assert_eq!(whole.said(), "fwd=partial; fwd-status=206; stored; ttl=60");
    let asked = (origin.was_told("range"), origin.was_told("if-range"));
    assert_eq!(asked, (vec!["bytes=7-".to_owned()], vec!["\"e\"".to_owned()]));
    assert!(send(&cache, get("/")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_does_not_fit_is_no_answer_and_what_has_changed_is_sent_whole() {
    let origin = Origin::new(|head, nth| match nth {
        0 => whole_or_part(head),
        // `If-Range` is not heeded: a part of something else.
        1 => {
            let part = status(206).with("cache-control", "max-age=60").with("etag", "\"new\"");
            part.with("content-range", "bytes 7-9/10").sized("abc")
        }
        _ => fresh(60).with("etag", "\"new\"").body("another"),
    });
    let cache = rfc(&origin);
    send(&cache, get("/").with("range", "bytes=0-6")).await;
    assert_eq!(send(&cache, get("/")).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(send(&cache, get("/")).await.text(), "another");
    assert_eq!(origin.was_told("range"), [""; 0], "all of it was asked for");
}

#[tokio::test(start_paused = true)]
async fn a_part_of_something_else_takes_nothing_from_another() {
    let origin = Origin::new(|head, nth| {
        let tag = if nth == 0 { "\"a\"" } else { "\"b\"" };
        let range = head.headers["range"].to_str().unwrap();
        let (said, text) = if range == "bytes=0-4" { ("bytes 0-4/10", "aaaaa") } else { ("bytes 5-9/10", "bbbbb") };
        let part = status(206).with("cache-control", "max-age=60").with("etag", tag);
        part.with("content-range", said).sized(text)
    });
    let cache = rfc(&origin);
    for range in ["bytes=0-4", "bytes=5-9"] {
        send(&cache, get("/").with("range", range)).await;
    }
    let both = send(&cache, get("/").with("range", "bytes=3-7").with("cache-control", "only-if-cached")).await;
    assert_eq!(both.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_what_is_on_its_way_is_read_along() {
    let origin = Origin::new(|head, _| match head.headers.contains_key("range") {
        true => whole_or_part(head),
        false => fresh(60).with("etag", "\"e\"").with("content-length", "10").body("01234").pause(10).body("56789"),
    });
    let cache = cache(&origin);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { send(&cache, get("/")).await }
    });
    settle().await;
    let (part, seconds) = timed(send(&cache, get("/").with("range", "bytes=1-3"))).await;
    assert_eq!((part.status, part.text(), seconds), (PARTIAL, "123", 0));
    let (part, seconds) = timed(send(&cache, get("/").with("range", "bytes=8-9"))).await;
    assert_eq!((part.status, part.text(), seconds), (PARTIAL, "89", 10));
    assert_eq!((first.await.unwrap().text(), origin.asked()), (TEXT, 1));
}

#[tokio::test(start_paused = true)]
async fn a_206_never_answers_for_the_whole_where_parts_are_not_stored() {
    let origin = Origin::new(|head, _| whole_or_part(head));
    let policy = crate::cache::CachePolicy::new().parts(false);
    let cache = tower_layer::Layer::layer(&layer().policy(policy), origin.clone());
    assert_eq!(send(&cache, get("/").with("range", "bytes=0-3")).await.said(), "fwd=uri-miss; detail=status");
    assert_eq!(send(&cache, get("/")).await.text(), TEXT);
}

/// The refresh behind the answer to a range is for all who come.
#[tokio::test(start_paused = true)]
async fn a_range_that_is_answered_stale_has_the_whole_refreshed() {
    let page = |text: &str, tag: &str| {
        ok().with("cache-control", "max-age=1, stale-while-revalidate=60").with("etag", tag).sized(text)
    };
    let origin = Origin::new(move |head, nth| match (nth, head.headers.contains_key("range")) {
        (0, _) => page(TEXT, "\"e\""),
        (_, false) => page("abcdefghij", "\"f\""),
        (_, true) => status(206).with("etag", "\"f\"").with("content-range", "bytes 0-3/10").sized("abcd"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    assert_eq!(send(&cache, get("/").with("range", "bytes=0-3")).await.text(), "0123");
    settle().await;
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit(), origin.asked()), ("abcdefghij", true, 2));
}

/// RFC 9110 §13.1.5: of what the client has not, a part is no use.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_stored_answers_if_range_only_for_the_very_same() {
    let origin = Origin::new(|head, _| match head.headers.get("if-range") {
        Some(tag) if tag != "\"e\"" => fresh(60).with("etag", "\"e\"").sized(TEXT),
        _ => whole_or_part(head),
    });
    let ask = |tag: &str| get("/").with("range", "bytes=2-5").with("if-range", tag);
    for (tag, status, text, asked) in
        [("\"e\"", PARTIAL, "2345", 1), ("\"x\"", StatusCode::OK, TEXT, 2), ("W/\"e\"", StatusCode::OK, TEXT, 2)]
    {
        let cache = cache(&origin);
        let before = origin.asked();
        send(&cache, get("/").with("range", "bytes=2-5")).await;
        let answer = send(&cache, ask(tag)).await;
        assert_eq!((answer.status, answer.text(), origin.asked() - before), (status, text, asked), "{tag}");
        assert!(answer.said().starts_with(if asked == 1 { "hit" } else { "fwd=partial" }), "{}", answer.said());
    }
}

/// The client waits for the rest, and would rather have the beginning at once.
#[tokio::test(start_paused = true)]
async fn more_than_half_of_the_whole_is_not_asked_for_as_a_rest() {
    for (range, rest) in [("bytes=0-3", None), ("bytes=0-4", Some("bytes=5-"))] {
        let origin = Origin::new(|head, _| whole_or_part(head));
        let cache = cache(&origin);
        send(&cache, get("/").with("range", range)).await;
        assert_eq!(send(&cache, get("/")).await.text(), TEXT);
        assert_eq!(origin.was_told("range").first().map(String::as_str), rest);
    }
}

fn tagged(head: &Parts) -> Reply {
    whole_or_part(head).with("cache-tag", "t")
}

#[tokio::test(start_paused = true)]
async fn parts_that_were_purged_are_not_made_whole_and_not_put_together_with_others() {
    for soft in [false, true] {
        for (second, text) in [("", "0123456789"), ("bytes=5-9", "56789")] {
            let layer = layer();
            let origin = Origin::new(|head, _| tagged(head));
            let cache = tower_layer::Layer::layer(&layer, origin.clone());
            send(&cache, get("/").with("range", "bytes=0-4")).await;
            let purge = Purge::tag("t");
            cache_of(&layer).purge(&if soft { purge.softly() } else { purge });
            let ask = if second.is_empty() { get("/") } else { get("/").with("range", second) };
            assert_eq!(send(&cache, ask).await.text(), text);
            let asked: Vec<_> = if second.is_empty() { vec![] } else { vec![second.to_owned()] };
            assert_eq!(origin.was_told("range"), asked);
            if soft {
                continue;
            }
            // Both were a whole, if one of them had not been purged.
            let whole = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
            assert_eq!(whole.status == StatusCode::OK, second.is_empty());
        }
    }
}

/// A whole or a part, with a tag that says how many were asked for before it.
fn tagged_apart(head: &http::request::Parts, nth: usize) -> Reply {
    whole_or_part(head).with("cache-tag", &format!("t{nth}"))
}

#[tokio::test(start_paused = true)]
async fn what_was_put_together_goes_with_the_tags_of_each_part() {
    // The rest is put to what is there: as another part, as the rest of the whole, and as one that the whole was asked for.
    for ranges in [&["bytes=0-6", "bytes=5-8"][..], &["bytes=0-6", "bytes=7-9"], &["bytes=0-6", ""]] {
        for (tag, soft) in [("t0", false), ("t1", false), ("t0", true), ("t1", true), ("t2", false)] {
            let layer = layer();
            let origin = Origin::new(tagged_apart);
            let cache = tower_layer::Layer::layer(&layer, origin.clone());
            for range in ranges {
                let ask = if range.is_empty() { get("/") } else { get("/").with("range", range) };
                send(&cache, ask).await;
            }
            let again = || get("/").with("range", "bytes=6-8");
            assert!(send(&cache, again()).await.is_hit());
            let purge = Purge::tag(tag);
            cache_of(&layer).purge(&if soft { purge.softly() } else { purge });
            assert_eq!(send(&cache, again()).await.is_hit(), tag == "t2", "{ranges:?} {tag}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_either_part_was_purged_with_while_the_rest_came_is_not_stored_together() {
    for (range, tag) in [("bytes=7-9", "t0"), ("bytes=7-9", "t1"), ("", "t0"), ("", "t1")] {
        let layer = layer();
        let origin = Origin::new(|head, nth| tagged_apart(head, nth).after(if nth == 1 { 5 } else { 0 }));
        let cache = tower_layer::Layer::layer(&layer, origin.clone());
        send(&cache, get("/").with("range", "bytes=0-6")).await;
        let asking = tokio::spawn({
            let (cache, ask) = (cache.clone(), if range.is_empty() { get("/") } else { get("/").with("range", range) });
            async move { send(&cache, ask).await }
        });
        pass(1).await;
        cache_of(&layer).purge(&Purge::tag(tag));
        let answer = asking.await.unwrap();
        assert_eq!(answer.text(), if range.is_empty() { TEXT } else { "789" }, "{range} {tag}");
        let whole = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
        assert_eq!(whole.status, StatusCode::GATEWAY_TIMEOUT, "{range} {tag}");
    }
}

/// Of more tags than one response may have nobody could purge all.
#[tokio::test(start_paused = true)]
async fn parts_with_too_many_tags_between_them_are_not_put_together() {
    for (range, text) in [("bytes=7-9", "789"), ("", TEXT)] {
        let origin = Origin::new(|head, nth| {
            let tags: Vec<_> = (0..100).map(|tag| format!("{nth}-{tag}")).collect();
            whole_or_part(head).with("cache-tag", &tags.join(","))
        });
        let cache = rfc(&origin);
        send(&cache, get("/").with("range", "bytes=0-6")).await;
        let ask = if range.is_empty() { get("/") } else { get("/").with("range", range) };
        let answer = send(&cache, ask).await;
        assert_eq!((answer.text(), answer.said().contains("tags")), (text, range.is_empty()), "{}", answer.said());
        let whole = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
        assert_eq!(whole.status, StatusCode::GATEWAY_TIMEOUT);
    }
}

/// It was asked on condition that it is a part of what was there then.
#[tokio::test(start_paused = true)]
async fn what_is_purged_while_the_rest_is_asked_for_is_still_the_answer_and_is_not_stored() {
    for purge in [Purge::tag("t"), Purge::everything()] {
        let layer = layer();
        let origin = Origin::new(|head, nth| tagged(head).after(if nth == 1 { 5 } else { 0 }));
        let cache = tower_layer::Layer::layer(&layer, origin.clone());
        send(&cache, get("/").with("range", "bytes=0-6")).await;
        let asking = tokio::spawn({
            let cache = cache.clone();
            async move { send(&cache, get("/")).await }
        });
        pass(1).await;
        cache_of(&layer).purge(&purge);
        let whole = asking.await.unwrap();
        assert_eq!((whole.status, whole.text()), (StatusCode::OK, TEXT));
        assert_eq!(whole.said(), "fwd=partial; fwd-status=206; ttl=55; detail=purged");
        assert!(!send(&cache, get("/")).await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_that_stops_coming_is_not_waited_for_for_ever() {
    let origin = Origin::new(|head, nth| match nth {
        0 => whole_or_part(head),
        1 => {
            let part = status(206).with("cache-control", "max-age=60").with("etag", "\"e\"");
            part.with("content-range", "bytes 7-9/10").body("7").pause(1000).body("89")
        }
        _ => whole_or_part(head),
    });
    let cache = cache(&origin);
    send(&cache, get("/").with("range", "bytes=0-6")).await;
    let (answer, seconds) = timed(send(&cache, get("/"))).await;
    assert_eq!((answer.status, seconds), (StatusCode::BAD_GATEWAY, 30));
    assert_eq!(send(&cache, get("/")).await.text(), TEXT);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_sends_a_rest_of_something_else_is_not_asked_for_one_again() {
    let origin = Origin::new(|head, _| {
        let (path, range) = (head.uri.path(), head.headers.get("range").and_then(|range| range.to_str().ok()));
        match (path, range) {
            (_, Some("bytes=0-6")) => whole_or_part(head),
            // `If-Range` is not heeded, and there are only seven by now.
            ("/a", Some(_)) => status(416).with("content-range", "bytes */7"),
            _ => fresh(60).with("etag", "\"new\"").body("another"),
        }
    });
    let cache = cache(&origin);
    for path in ["/a", "/b"] {
        send(&cache, get(path).with("range", "bytes=0-6")).await;
    }
    assert_eq!(send(&cache, get("/a")).await.status, StatusCode::BAD_GATEWAY);
    for path in ["/a", "/b"] {
        assert_eq!(send(&cache, get(path)).await.text(), "another");
        assert_eq!(origin.was_told("range"), [""; 0], "{path}");
    }
}

/// RFC 9111 §4.3.2: the origin would say that it still holds, and it is not there.
#[tokio::test(start_paused = true)]
async fn a_part_is_asked_about_only_where_it_could_be_the_answer() {
    for (range, asked) in [("bytes=2-5", vec!["\"e\"".to_owned()]), ("bytes=6-9", vec![]), ("", vec![])] {
        let origin = Origin::new(|head, _| whole_or_part(head));
        let cache = cache(&origin);
        send(&cache, get("/").with("range", "bytes=2-5")).await;
        pass(61).await;
        let ask = if range.is_empty() { get("/") } else { get("/").with("range", range) };
        assert!([StatusCode::OK, PARTIAL].contains(&send(&cache, ask).await.status));
        assert_eq!(origin.was_told("if-none-match"), asked, "{range}");
    }
}
