//! What a story is played on: a demo, somebody who asks it, and a list of what was claimed.

use crate::{
    chaos::{Remote, State},
    cli::{self, Command},
    load::{self, Plan, Tally, Target},
    ports::Ports,
    purge::Wanted,
    say, services, stack,
    upstreams::behind,
};
use axum::body::Body;
use bartizan::cache::ResponseCache;
use bartizan_gateway::{Client, bind, client, serve};
use futures_util::future::try_join_all;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use std::{
    error::Error,
    fmt,
    future::pending,
    io::sink,
    ops::{RangeFrom, RangeInclusive},
    time::Duration,
};
use tokio::time::{Instant, timeout};

pub(super) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[derive(Debug)]
pub(super) struct Stage {
    ports: Ports,
    client: Client,
    remote: Remote,
    start: Instant,
    strangers: RangeFrom<u32>,
    step: u32,
    held: u32,
    failed: Vec<String>,
}

/// An answer of the BFF, and how long it took.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `null`, if it is no JSON.
    pub(super) json: Value,
    pub(super) took: Duration,
}

/// Nobody waits longer: what takes so long is no answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// No step names one of them.
const STRANGERS: RangeFrom<u32> = 1_000..;

// ===== impl Stage =====

impl Stage {
    /// Starts a demo, without a log, for as long as the program runs.
    pub(super) async fn set(ports: &Ports) -> Result<Self> {
        let advise = |error| ports.advise("tour ", &error);
        let listener = bind(ports.bff()).await.map_err(advise)?;
        let cache = ResponseCache::new(crate::CACHE);
        services::start(ports, &cache).await.map_err(advise)?;
        tokio::spawn(serve(listener, stack::app(&behind(ports, cache)?, sink())?).run());
        Ok(Self {
            ports: *ports,
            client: client(),
            remote: Remote::new(*ports),
            start: Instant::now(),
            strangers: STRANGERS,
            step: 0,
            held: 0,
            failed: Vec::new(),
        })
    }

    /// The next step of the story.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        say(&format!("\n{}. {title}", self.step));
    }

    /// Something that was seen.
    #[allow(clippy::unused_self, reason = "what is told belongs to a step")]
    pub(super) fn tell(&self, seen: impl fmt::Display) {
        say(&format!("     {seen}"));
    }

    /// Something that has to be so, and what was seen of it.
    pub(super) fn claim(&mut self, what: &str, holds: bool, seen: impl fmt::Display) {
        if holds {
            self.held += 1;
            say(&format!("   ok {what} ({seen})"));
        } else {
            self.failed.push(format!("step {}: {what} ({seen})", self.step));
            say(&format!("   NO {what} ({seen})"));
        }
    }

    /// How it ended. An error, if a claim did not hold.
    pub(super) fn end(self) -> Result<()> {
        let took = self.start.elapsed().as_secs();
        match &*self.failed {
            [] => {
                say(&format!("\nAll {} claims held. It took {took} s.", self.held));
                Ok(())
            }
            failed => Err(format!(
                "{} of {} claims did not hold:\n  {}",
                failed.len(),
                failed.len() + self.held as usize,
                failed.join("\n  ")
            )
            .into()),
        }
    }

    /// `bff chaos`, with these words.
    pub(super) async fn chaos(&self, words: &str) -> Result<()> {
        say(&format!("   $ bff chaos {words}"));
        match cli::parse(["chaos"].into_iter().chain(words.split(' ')).map(str::to_owned))? {
            Command::Chaos(action, _) => Ok(self.remote.apply(&action).await?),
            other => Err(format!("{other:?} is no chaos").into()),
        }
    }

    pub(super) async fn state(&self, service: &str) -> Result<State> {
        Ok(self.remote.state(service).await?)
    }

    /// How many requests with this method the service has seen so far.
    pub(super) async fn received(&self, service: &str, method: &str) -> Result<u64> {
        Ok(self.state(service).await?.received.get(method).copied().unwrap_or_default())
    }

    pub(super) async fn get(&self, path: &str, tenant: &str) -> Result<Answer> {
        self.send(Request::get(self.url(path)).header("x-tenant-id", tenant).body(Body::empty())?).await
    }

    /// Asks so often, one after the other.
    pub(super) async fn ask(&self, times: usize, path: &str, tenant: &str) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(times);
        for _ in 0..times {
            answers.push(self.get(path, tenant).await?);
        }
        Ok(answers)
    }

    /// Asks for all of these at once.
    pub(super) async fn ask_at_once(
        &self,
        paths: impl IntoIterator<Item = String>,
        tenant: &str,
    ) -> Result<Vec<Answer>> {
        try_join_all(paths.into_iter().map(async |path| self.get(&path, tenant).await)).await
    }

    /// The numbers of so many users for whom nobody has asked so far: nothing is stored of them.
    pub(super) fn strangers(&mut self, count: u32) -> RangeInclusive<u32> {
        let first = self.strangers.start;
        self.strangers.start += count;
        first..=first + count - 1
    }

    /// Gives a user another plan, at the users service itself: nobody in front of it learns of that.
    pub(super) async fn change_plan(&self, user: &str, plan: &str) -> Result<Answer> {
        say(&format!("   $ curl -X PUT -d '{{\"plan\":\"{plan}\"}}' {}/users/{user}", self.ports.service("users")));
        let url = format!("http://{}/users/{user}", self.ports.service("users"));
        let request = Request::put(url).header("content-type", "application/json");
        self.send(request.body(Body::from(format!(r#"{{"plan":"{plan}"}}"#)))?).await
    }

    /// `bff purge`, of this tag.
    pub(super) async fn purge(&self, tag: &str) -> Result<()> {
        say(&format!("   $ bff purge {tag}"));
        self.remote.purge(&Wanted { tag: tag.to_owned(), tenant: None }).await?;
        Ok(())
    }

    /// An order of a desk, with an `Idempotency-Key` or without.
    pub(super) async fn order(&self, key: Option<&str>) -> Result<Answer> {
        let mut request =
            Request::post(self.url("/orders")).header("x-tenant-id", "acme").header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        self.send(request.body(Body::from(r#"{"user":"u1","item":"desk"}"#))?).await
    }

    /// `bff load`, for a while.
    pub(super) async fn load(&self, rate: u32, time: Duration, path: &str) -> Result<Tally> {
        let target = Target::new(self.ports.bff(), &[path.to_owned()], "acme")?;
        Ok(load::send(&Plan { target, rate, time, in_flight: 256 }, pending::<()>(), |_| ()).await)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ports.bff())
    }

    async fn send(&self, request: Request<Body>) -> Result<Answer> {
        let start = Instant::now();
        let what = format!("{} {}", request.method(), request.uri());
        let answer = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, 1024 * 1024).collect().await.map_err(|error| error.to_string())?.to_bytes();
            let json = serde_json::from_slice(&body).unwrap_or_default();
            Ok(Answer { status: head.status, headers: head.headers, json, took: start.elapsed() })
        };
        timeout(PATIENCE, answer).await.map_err(|_| format!("{what} was not answered in {PATIENCE:?}"))?
    }
}

// ===== impl Answer =====

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }

    /// Whether all sources of a dashboard brought what they should.
    pub(super) fn is_complete(&self) -> bool {
        self.is_ok() && self.json["_meta"]["complete"] == true
    }

    /// What the cache says of it: `hit`, `stale`, `collapsed`, or why the service was asked.
    pub(super) fn cached(&self) -> &str {
        let said = self.headers.get("cache-status").and_then(|said| said.to_str().ok()).unwrap_or("nothing");
        let forwarded = || said.split_once("fwd=")?.1.split(';').next();
        match said {
            _ if said.contains("; ttl=-") => "stale",
            _ if said.contains("; hit") => "hit",
            _ if said.contains("; collapsed") => "collapsed",
            _ => forwarded().unwrap_or(said),
        }
    }

    /// What the cache says of a source of a dashboard.
    pub(super) fn source_cached(&self, name: &str) -> &str {
        self.json["_meta"]["sources"][name]["cache"].as_str().unwrap_or("nothing")
    }

    /// How a source of a dashboard went: `ok`, `fallback`, `timeout`, …
    pub(super) fn source(&self, name: &str) -> &str {
        let source = &self.json["_meta"]["sources"][name];
        let word = |member: &str| source[member].as_str();
        match word("status") {
            Some("error") => word("cause").unwrap_or("error"),
            status => status.unwrap_or("absent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        let ports = Ports::from(9000);
        let (client, remote) = (client(), Remote::new(ports));
        let (start, strangers) = (Instant::now(), STRANGERS);
        Stage { ports, client, remote, start, strangers, step: 0, held: 0, failed: Vec::new() }
    }

    #[tokio::test]
    async fn one_claim_that_does_not_hold_is_an_error_that_names_it() {
        let mut stage = stage();
        stage.step("first");
        stage.claim("two is more than one", 2 > 1, 2);
        stage.step("second");
        stage.claim("three is less than one", 3 < 1, "it is 3");
        let failed = stage.end().expect_err("it did not hold").to_string();
        assert_eq!(failed, "1 of 2 claims did not hold:\n  step 2: three is less than one (it is 3)");

        let mut stage = self::stage();
        stage.claim("two is more than one", 2 > 1, 2);
        assert!(stage.end().is_ok());
    }

    #[tokio::test]
    async fn a_demo_that_cannot_be_asked_is_an_error() {
        assert!(stage().get("/livez", "acme").await.is_err());
        assert!(stage().chaos("users --down").await.is_err());
    }
}
