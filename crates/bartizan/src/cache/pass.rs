//! Requests that no stored response can answer, and what they take away from what is stored.

use super::{
    ask::{Trait, Verb},
    body::CacheBody,
    event::{Event, Forward, Outcome},
    fetch::{Visit, ready},
    lead::hand_over,
    policy,
    rules::Rules,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use std::{error::Error, sync::Arc};
use tower_service::Service;

/// Hands the request to the service as it is, and its answer to the client.
pub(super) async fn pass<S, B, R>(visit: Visit<S, B>) -> Result<Response<CacheBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let Visit { rules, mut inner, request, ask, key } = visit;
    let forward = match ask.verb {
        Verb::Get | Verb::Head => Forward::Bypass,
        Verb::Post | Verb::Safe | Verb::Unsafe => Forward::Method,
    };
    let detail = if key.is_none() { Some("no-key") } else { None };
    let changes = key.filter(|_| matches!(ask.verb, Verb::Post | Verb::Unsafe));
    let changes = changes.map(|key| (key, request.uri().clone(), request.headers().clone()));
    ready(&mut inner).await?;
    let response = inner.call(request).await?;
    if let Some((key, uri, headers)) = changes {
        let taken = rules.cache.invalidate(&key, &uri, &headers, &response_head(&response), &rules.keys);
        rules.tell(Event::Invalidated(taken));
    }
    Ok(hand_over(&rules, response, Outcome::Forwarded(forward), detail))
}
