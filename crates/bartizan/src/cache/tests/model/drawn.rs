//! Clients and origins as they are drawn.

use proptest::{prelude::*, sample::select};

#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) tenant: &'static str,
    pub(super) authorization: &'static str,
    pub(super) cookie: &'static str,
    pub(super) kind: &'static str,
    pub(super) condition: Condition,
    pub(super) range: &'static str,
    pub(super) control: &'static str,
    /// After so many seconds it has gone, whatever it has got by then.
    pub(super) leaves: Option<u64>,
}

/// Some who come at once, and what happens beside them.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// So long after the one before.
    pub(super) wait: u64,
    pub(super) visits: Vec<Visit>,
    /// So long after they came.
    pub(super) lag: u64,
    pub(super) deed: Deed,
    /// Whether all who are there get their answers before the next step.
    pub(super) ends: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Deed {
    Nothing,
    Purge {
        what: What,
        is_soft: bool,
    },
    /// What is in the memory of this process is lost, and another goes on.
    Restart,
}

/// What of a path is purged: by its URL or its tag, for one tenant or all.
#[derive(Clone, Debug)]
pub(super) struct What {
    pub(super) path: &'static str,
    /// All, if it is empty.
    pub(super) tenant: &'static str,
    pub(super) by_tag: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    None,
    /// What this client would have got last.
    Own,
    Other,
    Any,
    Since,
}

/// How the origin answers one request.
#[derive(Clone, Debug)]
pub(super) struct Mood {
    pub(super) status: u16,
    pub(super) control: &'static str,
    pub(super) vary: &'static str,
    pub(super) tag: &'static str,
    pub(super) age: u64,
    /// How many seconds its clock is behind ours.
    pub(super) behind: u64,
    pub(super) modified: bool,
    pub(super) sets_cookie: bool,
    /// Whether it says in `Content-Location` that it is what is there.
    pub(super) names_itself: bool,
    /// The field by which a 304 names tags.
    pub(super) tagged: &'static str,
    pub(super) expires: Option<u64>,
    pub(super) after: u64,
    pub(super) body: u8,
    pub(super) fails: bool,
}

pub(super) fn visits() -> impl Strategy<Value = Visit> {
    let who = (select(vec!["", "", "", "ann", "bob"]), select(vec!["", "", "", "ann", "bob"]));
    let what = (
        select(vec!["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS"]),
        select(vec!["/a", "/a", "/b"]),
        select(vec!["x", "x", "y"]),
        select(vec!["1", "1", "2"]),
    );
    let condition = select(vec![
        Condition::None,
        Condition::None,
        Condition::None,
        Condition::Own,
        Condition::Other,
        Condition::Any,
        Condition::Since,
    ]);
    let range = select(vec!["", "", "", "", "bytes=0-3", "bytes=4-9", "bytes=-5", "bytes=2-"]);
    let control = select(vec![
        "",
        "",
        "",
        "",
        "",
        "no-cache",
        "no-store",
        "max-age=0",
        "max-age=20",
        "min-fresh=20",
        "max-stale",
        "max-stale=20",
        "only-if-cached",
        "stale-if-error=100",
    ]);
    let leaves = select(vec![None, None, None, None, None, Some(0), Some(1), Some(2), Some(4)]);
    (who, what, condition, range, control, leaves).prop_map(|(who, what, condition, range, control, leaves)| Visit {
        method: what.0,
        path: what.1,
        tenant: what.2,
        kind: what.3,
        authorization: who.0,
        cookie: who.1,
        condition,
        range,
        control,
        leaves,
    })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tenant = select(vec![("x", false), ("x", true), ("y", false), ("y", true), ("", true)]);
    let what = (select(vec!["/a", "/b"]), tenant);
    let what = what.prop_map(|(path, (tenant, by_tag))| What { path, tenant, by_tag });
    let deed = prop_oneof![
        4 => Just(Deed::Nothing),
        4 => (what, any::<bool>()).prop_map(|(what, is_soft)| Deed::Purge { what, is_soft }),
        1 => Just(Deed::Restart),
    ];
    let wait = select(vec![0, 0, 1, 5, 12, 25, 60]);
    let visits = prop::collection::vec(visits(), 1..4);
    let step = (wait, visits, select(vec![0, 0, 1, 2, 4]), deed, any::<bool>());
    let step = step.prop_map(|(wait, visits, lag, deed, ends)| Step { wait, visits, lag, deed, ends });
    prop::collection::vec(step, 1..24)
}

pub(super) fn moods() -> impl Strategy<Value = Mood> {
    let control = select(vec![
        "max-age=30",
        "max-age=30",
        "max-age=30",
        "max-age=10, stale-while-revalidate=20",
        "max-age=10, stale-if-error=20",
        "max-age=10, must-revalidate, stale-while-revalidate=20",
        "max-age=10, proxy-revalidate",
        "s-maxage=20, max-age=1, stale-if-error=100",
        "public, max-age=20",
        "public, max-age=10, stale-while-revalidate=20",
        "no-cache",
        "no-store, max-age=30",
        "private, max-age=30",
        "max-age=0",
        "immutable, max-age=30",
        "",
    ]);
    let status = select(vec![200, 200, 200, 200, 200, 200, 200, 404, 301, 500, 503]);
    let vary = select(vec!["", "x-kind", "x-kind", "X-Kind, cookie", "authorization, x-kind", "*"]);
    let tag = select(vec!["strong", "strong", "strong", "weak", ""]);
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.08), any::<bool>());
    let tagged = select(vec!["", "cache-tag", "surrogate-key"]);
    let ages = (
        select(vec![0, 0, 0, 5, 25]),
        select(vec![0, 0, 0, 7, 100]),
        select(vec![None, None, None, Some(0), Some(15)]),
    );
    let comes = (select(vec![0, 0, 0, 1, 3, 7]), 0..8_u8);
    (control, status, vary, tag, flags, tagged, ages, comes).prop_map(
        |(control, status, vary, tag, (modified, sets_cookie, fails, names_itself), tagged, ages, (after, body))| {
            let (age, behind, expires) = ages;
            Mood {
                status,
                control,
                vary,
                tag,
                age,
                behind,
                modified,
                sets_cookie,
                names_itself,
                tagged,
                expires,
                after,
                body,
                fails,
            }
        },
    )
}
