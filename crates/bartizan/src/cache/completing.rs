//! Parts that are stored, and the rest (RFC 9111 §3.4, RFC 9110 §14.5).

use super::{
    answer::{Told, answer},
    ask::{Trait, Verb},
    body::CacheBody,
    entry::Content,
    event::{Forward, Outcome},
    flight::Landing,
    lead::Asked,
    rules::Found,
    storing::Storing,
};
use crate::shared::wall_now;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use std::error::Error;
use tokio::time::Instant;

impl Asked {
    /// Asks only for what is missing of the whole, on condition that it is a part of the same. Says whether it could.
    pub(super) fn ask_for_the_rest(&self, headers: &mut HeaderMap) -> bool {
        let is_whole = self.ask.verb == Verb::Get && !self.ask.has(Trait::Range);
        if self.forward != Forward::Partial || !is_whole {
            return false;
        }
        let now = Instant::now();
        let resource = self.rules.cache.get(&self.key, now);
        resource.iter().flat_map(|resource| &resource.entries).any(|entry| match &entry.content {
            Content::Parts(parts) => {
                entry.matches(&self.headers, &self.rules.policy)
                    && entry.terms.is_fresh(now)
                    && parts.complete().is_some_and(|complete| complete <= self.rules.cache.largest())
                    && parts.ask_for_missing(&entry.headers, None, headers)
            }
            Content::Whole(_) | Content::Filling(_) | Content::Head => false,
        })
    }

    /// Waits for the rest, and answers with the whole.
    pub(super) async fn complete<R>(mut self, response: Response<R>) -> Response<CacheBody<R>>
    where
        R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let arrival = self.arrival(wall_now());
        let kept = self.kept(response.status(), response.headers(), &arrival);
        let (head, body) = response.into_parts();
        let omit = kept.as_ref().map(|kept| kept.omit.to_vec()).unwrap_or_default();
        if let Ok(entry) = kept.and_then(|kept| self.entry(&head, kept, &arrival)) {
            let (_, reader) = Storing::new(&self, &head.headers, entry, omit, None).start(body, None);
            self.rules.read_to_end(reader).await;
        }
        let now = Instant::now();
        let told = Told { fwd_status: Some(StatusCode::PARTIAL_CONTENT), stored: true, ..Told::default() };
        let whole = match self.rules.find(&self.key, self.ask, &self.headers, now) {
            Found::Usable(entry, _) => {
                answer(&self.rules, &entry, self.ask, &self.headers, now, Outcome::Forwarded(self.forward), told)
            }
            Found::Ask(..) => None,
        };
        self.flight.land(if whole.is_some() { Landing::Stored } else { Landing::Unstorable });
        whole.unwrap_or_else(|| self.no_answer("the service behind sent a part that does not fit to the others"))
    }
}
