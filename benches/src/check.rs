//! Whether a case does what it is measured for.

use crate::{
    cases::Terms,
    fixture::{CLIENTS, Origin, Requests},
    run::{Run, Subject, call, read, runtime, send},
    sink::Sink,
};
use std::time::Duration;
use tokio::time::sleep;

/// Looks at some thousand answers.
pub(crate) struct Check;

const ANSWERS: u64 = 4096;

impl Run for Check {
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String> {
        runtime().block_on(async {
            let mut requests = Requests::new(terms.peer, 0);
            warm_up(&service, &mut requests).await;
            let (ran, lines) = (Origin::ran(), Sink::lines());
            for _ in 0..ANSWERS {
                let (head, body) = call(&service, requests.next()).await.into_parts();
                let mut bytes = Vec::new();
                read(body, |data| bytes.extend_from_slice(data)).await;

                let is_right = terms.body.map_or(!bytes.is_empty(), |body| bytes == body);
                let missing = terms.fields.iter().find(|field| !head.headers.contains_key(**field));
                if head.status != terms.status || !is_right || missing.is_some() {
                    return Err(format!("not the answer expected: {head:?}\n{}", String::from_utf8_lossy(&bytes)));
                }
            }
            equal("requests at the origin", Origin::ran() - ran, ANSWERS * u64::from(terms.is_from_origin))?;
            equal("lines in the log", Sink::lines() - lines, ANSWERS * terms.lines)?;
            Ok(format!("{ANSWERS} answers are right"))
        })
    }
}

/// Sends enough requests that every client is known, every table has its size, and what is done behind a request is done.
pub(crate) async fn warm_up<S: Subject>(service: &S, requests: &mut Requests) {
    let all = u32::try_from(CLIENTS).unwrap_or(u32::MAX);
    for _ in 0..4 {
        send(service, requests, all / 2).await;
        sleep(Duration::from_millis(5)).await;
    }
}

fn equal(what: &str, measured: u64, expected: u64) -> Result<(), String> {
    if measured == expected { Ok(()) } else { Err(format!("{measured} {what}, expected {expected}")) }
}
