//! Many who ask for the same at once.

use super::support::*;
use crate::{cache::Abandoned, shared::Deadline};
use std::time::Duration;
use tokio::task::JoinHandle;
use tower_layer::Layer;

type Asking = JoinHandle<(Option<Answer>, u64)>;

/// Asks in a task of its own; says how many seconds it took. `None` if it failed.
fn ask(cache: &Caching, request: Ask) -> Asking {
    let cache = cache.clone();
    tokio::spawn(async move { timed(async { attempt(&cache, request).await.ok() }).await })
}

async fn texts(asking: impl IntoIterator<Item = Asking>) -> Vec<(String, u64)> {
    let mut texts = Vec::new();
    for asking in asking {
        let (answer, seconds) = asking.await.unwrap();
        texts.push((answer.unwrap().text().to_owned(), seconds));
    }
    texts
}

fn all(number: usize, text: &str, seconds: u64) -> Vec<(String, u64)> {
    vec![(text.to_owned(), seconds); number]
}

fn many(cache: &Caching, number: usize) -> Vec<Asking> {
    (0..number).map(|_| ask(cache, get("/"))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_at_once_reach_the_origin_once() {
    let origin = Origin::new(|_, nth| fresh(60).after(3).body(&nth.to_string()));
    let layer = layer();
    let cache = layer.layer(origin.clone());
    let asking = many(&cache, 100);
    let mut said = Vec::new();
    for asking in asking {
        let (answer, seconds) = asking.await.unwrap();
        let answer = answer.unwrap();
        assert_eq!((answer.text(), seconds), ("0", 3));
        said.push(answer.said());
    }
    said.sort();
    assert_eq!(said.iter().filter(|said| *said == "fwd=uri-miss; collapsed; ttl=57").count(), 99, "{said:?}");
    assert_eq!(origin.asked(), 1);
    assert_eq!(cache_of(&layer).statistics().collapsed, 99);
}

#[tokio::test(start_paused = true)]
async fn all_get_the_bytes_as_they_come_and_who_comes_late_gets_the_beginning_at_once() {
    use http_body_util::BodyExt;
    let origin = Origin::new(|_, _| fresh(60).body("one ").pause(10).body("two"));
    let cache = cache(&origin);
    let mut first = open(&cache, get("/")).await.unwrap();
    first.body_mut().frame().await.unwrap().unwrap();
    pass(5).await;
    for _ in 0..5 {
        let (mut late, seconds) = timed(async { open(&cache, get("/")).await.unwrap() }).await;
        let (frame, more) = timed(late.body_mut().frame()).await;
        assert_eq!((&frame.unwrap().unwrap().into_data().unwrap()[..], seconds + more), (&b"one "[..], 0));
    }
    let (rest, seconds) = timed(read(first)).await;
    assert_eq!((rest.text(), seconds, origin.asked()), ("two", 10, 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_before_the_head_leaves_nobody_waiting() {
    for (abandoned, asked, seconds) in [(Abandoned::Finish, 1, 3), (Abandoned::Drop, 2, 4)] {
        let origin = Origin::new(|_, _| fresh(60).after(3).with("content-length", "3").body("one"));
        let cache = layer().abandoned(abandoned).layer(origin.clone());
        let leader = ask(&cache, get("/"));
        settle().await;
        let followers = many(&cache, 10);
        pass(1).await;
        leader.abort();
        assert_eq!(texts(followers).await, all(10, "one", seconds), "{abandoned:?}");
        assert_eq!(origin.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_in_the_body_leaves_nobody_waiting() {
    for abandoned in [Abandoned::Finish, Abandoned::Drop] {
        let origin = Origin::new(|_, _| fresh(60).body("one ").pause(10).body("two"));
        let cache = layer().abandoned(abandoned).layer(origin.clone());
        let leader = open(&cache, get("/")).await.unwrap();
        let followers = many(&cache, 10);
        pass(3).await;
        drop(leader);
        assert_eq!(texts(followers).await, all(10, "one two", 10));
        assert_eq!(origin.asked(), 1);
        assert!(send(&cache, get("/")).await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_leave_nothing_is_left() {
    let origin = Origin::new(|_, nth| fresh(60).after(4).body(&nth.to_string()));
    let layer = layer().abandoned(Abandoned::Drop);
    let cache = layer.layer(origin);
    for asking in many(&cache, 10) {
        settle().await;
        asking.abort();
    }
    settle().await;
    assert_eq!(cache_of(&layer).flights().len(), 0);
    assert!(send(&cache, get("/")).await.body.is_some());
    assert_eq!(cache_of(&layer).flights().len(), 0);
}

/// Varnish, nginx and tower-http-cache send them one by one.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_stored_lets_all_go_at_once_and_is_remembered() {
    for control in ["no-store", "private", "max-age=0", "no-cache"] {
        let origin = Origin::new(move |_, nth| ok().with("cache-control", control).after(3).body(&nth.to_string()));
        let cache = cache(&origin);
        let mut seconds: Vec<_> = texts(many(&cache, 20)).await.into_iter().map(|(_, seconds)| seconds).collect();
        seconds.sort_unstable();
        assert_eq!((seconds[0], seconds[1], seconds[19]), (3, 6, 6), "{control}: one leads, and then all at once");
        let again = texts(many(&cache, 20)).await;
        assert!(again.iter().all(|(_, seconds)| *seconds == 3), "{control}: nobody waits for another");
        assert_eq!(origin.asked(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_shared_as_there_was_a_cookie_is_remembered_for_who_sends_one() {
    let origin = Origin::new(|_, nth| fresh(60).after(3).body(&nth.to_string()));
    let cache = cache(&origin);
    let with_cookie = || (0..20).map(|_| ask(&cache, get("/").with("cookie", "a=1"))).collect::<Vec<_>>();
    texts(with_cookie()).await;
    let again = texts(with_cookie()).await;
    assert!(again.iter().all(|(_, seconds)| *seconds == 3), "nobody waits for another");
    assert_eq!(origin.asked(), 40);
    texts(many(&cache, 20)).await;
    assert_eq!(origin.asked(), 41, "who sends none still shares");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_worth_waiting_for_is_shared_again_when_it_can_be_stored() {
    let origin = Origin::new(|_, nth| if nth == 0 { ok() } else { fresh(60) }.after(1).body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    send(&cache, get("/")).await;
    pass(61).await;
    texts(many(&cache, 10)).await;
    assert_eq!(origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_is_said() {
    let slow_first = || Origin::new(|_, nth| fresh(60).after(if nth == 0 { 60 } else { 1 }).body(&nth.to_string()));
    let (by_default, two, none) =
        (layer(), layer().wait_at_most(Duration::from_secs(2)), layer().wait_at_most(Duration::ZERO));
    for (layer, seconds) in [(by_default, 6), (two, 3), (none, 1)] {
        let origin = slow_first();
        let cache = layer.layer(origin);
        let _leader = ask(&cache, get("/"));
        settle().await;
        let (answer, took) = ask(&cache, get("/")).await.unwrap();
        assert_eq!((answer.unwrap().text(), took), ("1", seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_its_deadline() {
    let origin = Origin::new(|_, nth| fresh(60).after(if nth == 0 { 60 } else { 0 }).body(&nth.to_string()));
    let cache = cache(&origin);
    let _leader = ask(&cache, get("/"));
    settle().await;
    let mut hurried = get("/");
    Deadline::after(Duration::from_secs(2)).tighten(hurried.extensions_mut());
    let (answer, took) = ask(&cache, hurried).await.unwrap();
    assert_eq!((answer.unwrap().text(), took), ("1", 2));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_leader_is_its_own() {
    let origin = Origin::new(|_, nth| if nth == 0 { fails() } else { fresh(60) }.after(2));
    let cache = cache(&origin);
    let mut outcomes = Vec::new();
    for asking in many(&cache, 10) {
        let (answer, seconds) = asking.await.unwrap();
        outcomes.push((answer.is_some(), seconds));
    }
    outcomes.sort_unstable();
    assert_eq!((outcomes[0], outcomes[1], outcomes[9]), ((false, 2), (true, 4), (true, 4)));
}

#[tokio::test(start_paused = true)]
async fn where_the_leader_fails_all_get_what_is_stale_and_nobody_asks_again() {
    for failure in [fails as fn() -> Reply, || status(503)] {
        let origin = Origin::new(move |_, nth| if nth == 0 { fresh(1).body("old") } else { failure().after(2) });
        let cache = rfc(&origin);
        send(&cache, get("/")).await;
        pass(5).await;
        assert_eq!(texts(many(&cache, 10)).await, all(10, "old", 2));
        assert_eq!(origin.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_validation_is_for_all_who_wait() {
    let origin = Origin::new(|_, nth| match nth {
        0 => fresh(1).with("etag", "\"e\"").body("one"),
        _ => status(304).with("etag", "\"e\"").with("cache-control", "max-age=60").after(2),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(5).await;
    assert_eq!(texts(many(&cache, 10)).await, all(10, "one", 2));
    assert_eq!(origin.asked(), 2);
}

/// Of a body that breaks off, each gets what came and then the error; nobody takes it for the whole.
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_breaks_off_for_all_who_read_it() {
    let origin =
        Origin::new(|_, nth| if nth == 0 { fresh(60).body("half").pause(5).breaks() } else { fresh(60).body("whole") });
    let cache = cache(&origin);
    for asking in many(&cache, 5) {
        let answer = asking.await.unwrap().0.unwrap();
        assert!(answer.body.is_none() && answer.so_far == "half");
    }
    assert_eq!(send(&cache, get("/")).await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_condition_of_the_leader_or_of_a_follower_is_its_own() {
    for leader in ["if-none-match", "x-nothing"] {
        let origin = Origin::new(|_, _| fresh(60).with("etag", "\"e\"").after(2).body("one").pause(2).body("!"));
        let cache = cache(&origin);
        let first = ask(&cache, get("/").with(leader, "\"e\""));
        settle().await;
        let (plain, conditional) = (ask(&cache, get("/")), ask(&cache, get("/").with("if-none-match", "\"e\"")));
        let expected = if leader == "if-none-match" { 304 } else { 200 };
        assert_eq!(first.await.unwrap().0.unwrap().status.as_u16(), expected);
        assert_eq!(plain.await.unwrap().0.unwrap().text(), "one!");
        assert_eq!(conditional.await.unwrap().0.unwrap().status.as_u16(), 304);
        assert_eq!(origin.asked(), 1);
    }
}

/// With `Abandoned::Drop` nobody reads on for a leader that was told 304, but for those who read along.
#[tokio::test(start_paused = true)]
async fn who_follows_a_leader_that_wants_no_body_still_gets_it() {
    let origin = Origin::new(|_, _| fresh(60).with("etag", "\"e\"").after(2).body("one").pause(2).body("!"));
    let cache = layer().abandoned(Abandoned::Drop).layer(origin);
    let first = ask(&cache, get("/").with("if-none-match", "\"e\""));
    settle().await;
    let followers = many(&cache, 3);
    assert_eq!(first.await.unwrap().0.unwrap().status.as_u16(), 304);
    for follower in followers {
        assert_eq!(follower.await.unwrap().0.unwrap().text(), "one!");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_panics_takes_nobody_else_with_it() {
    let origin = Origin::new(|_, nth| if nth == 0 { panic!("on purpose") } else { fresh(60).body("one") });
    let cache = cache(&origin);
    let asking = many(&cache, 5);
    let mut panicked = 0;
    for asking in asking {
        match asking.await {
            Ok((answer, _)) => assert_eq!(answer.unwrap().text(), "one"),
            Err(error) => panicked += usize::from(error.is_panic()),
        }
    }
    assert_eq!(panicked, 1);
}

/// What is on its way for one is read along only by who would have found it stored.
#[tokio::test(start_paused = true)]
async fn who_comes_while_another_variant_comes_gets_its_own() {
    let origin = Origin::new(|head, _| {
        let kind = head.headers["x-kind"].to_str().unwrap();
        fresh(60).with("vary", "x-kind").body(kind).pause(10).body("!")
    });
    let cache = cache(&origin);
    let first = ask(&cache, get("/").with("x-kind", "a"));
    pass(1).await;
    let (other, same) = (ask(&cache, get("/").with("x-kind", "b")), ask(&cache, get("/").with("x-kind", "a")));
    for (asking, text, seconds) in [(first, "a!", 10), (other, "b!", 10), (same, "a!", 9)] {
        let (answer, took) = asking.await.unwrap();
        assert_eq!((answer.unwrap().text(), took), (text, seconds));
    }
    assert_eq!(origin.asked(), 2);
}

/// What has to be validated for each is validated for all at the same time.
#[tokio::test(start_paused = true)]
async fn where_each_has_to_ask_nobody_waits_for_another_after_the_first_time() {
    let control = "no-cache";
    let origin = Origin::new(move |_, nth| match nth {
        0 => ok().with("cache-control", control).with("etag", "\"e\"").body("one"),
        _ => status(304).with("cache-control", control).with("etag", "\"e\"").after(3),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(200).await;
    let mut seconds: Vec<_> = texts(many(&cache, 5)).await.into_iter().map(|(_, seconds)| seconds).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, [3, 6, 6, 6, 6], "one leads, and then all at once");
    assert_eq!(texts(many(&cache, 5)).await, all(5, "one", 3));
}

/// The client has left, and what it has left behind is not waited for without end.
#[tokio::test(start_paused = true)]
async fn an_origin_that_never_answers_one_who_has_left_is_asked_by_another() {
    let origin = Origin::new(|_, nth| fresh(60).after(if nth == 0 { 100_000 } else { 1 }).body(&nth.to_string()));
    let cache = layer().wait_at_most(Duration::from_secs(1000)).layer(origin.clone());
    let first = ask(&cache, get("/"));
    settle().await;
    first.abort();
    let (answer, seconds) = ask(&cache, get("/")).await.unwrap();
    assert_eq!((answer.unwrap().text(), seconds, origin.asked()), ("1", 61, 2));
}

/// The time that it takes to answer counts (RFC 9111 §4.2.3): such an answer is stale when it comes, and stale it is for
/// others only if it says so (§4.2.4).
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_stale_when_it_comes_is_for_those_who_wait_only_if_it_may_be_used_stale() {
    for (control, asked) in [
        ("max-age=1", 20),
        ("max-age=1, stale-while-revalidate=2", 20),
        ("max-age=1, stale-while-revalidate=60", 1),
        ("max-age=0, stale-while-revalidate=60", 1),
        ("s-maxage=1, stale-while-revalidate=60", 20),
        ("no-cache, stale-while-revalidate=60", 20),
    ] {
        let origin = Origin::new(move |_, nth| ok().with("cache-control", control).after(3).body(&nth.to_string()));
        let cache = cache(&origin);
        let mut said = Vec::new();
        for asking in many(&cache, 20) {
            let (answer, seconds) = asking.await.unwrap();
            assert!(seconds <= 6, "{control}: nobody waits for more than one other");
            said.push(answer.unwrap().said());
        }
        assert_eq!(origin.asked(), asked, "{control}");
        if asked == 1 {
            let ttl = if control.starts_with("max-age=1") { -2 } else { -3 };
            assert_eq!(said[0], format!("fwd=uri-miss; stored; ttl={ttl}"));
            assert_eq!(said[19], format!("fwd=uri-miss; collapsed; ttl={ttl}"));
            // Who comes now has it as well, and sees to a new one.
            assert_eq!(send(&cache, get("/")).await.said(), format!("hit; ttl={ttl}"));
            settle().await;
            assert_eq!(origin.asked(), 2);
        }
    }
}

/// As one that answered, an origin that confirms what was there in time for nobody is asked by each.
#[tokio::test(start_paused = true)]
async fn a_validation_that_is_stale_when_it_comes_is_for_all_who_wait_if_it_may_be_used_stale() {
    let control = "max-age=1, stale-while-revalidate=2";
    let origin = Origin::new(move |_, nth| match nth {
        0 => ok().with("cache-control", control).with("etag", "\"e\"").body("one"),
        _ => status(304).with("cache-control", "max-age=1, stale-while-revalidate=9").with("etag", "\"e\"").after(3),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(10).await;
    assert_eq!(texts(many(&cache, 10)).await, all(10, "one", 3));
    assert_eq!(origin.asked(), 2);
}
