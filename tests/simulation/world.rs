//! Services that misbehave, and what they have seen.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tower_service::Service;

/// What is wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It answers after seconds.
    Slow,
    /// It answers with 503.
    Failing,
    /// It never answers.
    Hanging,
    /// It does the work and breaks the connection before the answer.
    Resetting,
    /// Nobody listens.
    Gone,
}

/// One service. Its clones are the same.
#[derive(Clone)]
pub(crate) struct Server(Arc<Mutex<Seen>>);

/// What a service has seen, and how it is.
pub(crate) struct Seen {
    /// What is wrong, and for what share of the requests.
    pub(crate) trouble: Option<(Trouble, f64)>,
    /// How often each request arrived and may have had an effect.
    pub(crate) arrivals: HashMap<u64, u32>,
    /// How often each was done, and answered so.
    pub(crate) answers: HashMap<u64, u32>,
    /// In each second: how many arrived for the first time, and how many again.
    pub(crate) seconds: Vec<(u32, u32)>,
    pub(crate) at_work: usize,
    pub(crate) most_at_work: usize,
    begin: Instant,
    chance: StdRng,
}

/// One request at work, until it is done or dropped.
struct AtWork(Server);

/// The number that a request bears; its answer must bear the same.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

// ===== impl Server =====

impl Server {
    pub(crate) fn new(seed: u64) -> Self {
        let begin = Instant::now();
        let chance = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(Seen {
            trouble: None,
            arrivals: HashMap::new(),
            answers: HashMap::new(),
            seconds: Vec::new(),
            at_work: 0,
            most_at_work: 0,
            begin,
            chance,
        })))
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nobody panics while looking")
    }

    /// Notes an arrival; tells what will happen to it, and how long it takes.
    fn arrive(&self, number: u64) -> (Option<Trouble>, Duration) {
        let mut seen = self.seen();
        let trouble = seen.trouble.and_then(|(trouble, share)| seen.chance.random_bool(share).then_some(trouble));
        let millis = if trouble == Some(Trouble::Slow) { 1_500..4_000 } else { 5..50 };
        let takes = Duration::from_millis(seen.chance.random_range(millis));
        if trouble != Some(Trouble::Gone) {
            let times = seen.arrivals.entry(number).or_default();
            *times += 1;
            let again = *times > 1;
            let second = usize::try_from(seen.begin.elapsed().as_secs()).expect("minutes");
            if seen.seconds.len() <= second {
                seen.seconds.resize(second + 1, (0, 0));
            }
            let (firsts, repeats) = &mut seen.seconds[second];
            *(if again { repeats } else { firsts }) += 1;
        }
        (trouble, takes)
    }
}

impl<B: Send + 'static> Service<Request<B>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let Number(number) = *request.extensions().get().expect("every request has a number");
            let (trouble, takes) = server.arrive(number);
            let _at_work = AtWork::begin(&server);
            match trouble {
                Some(Trouble::Gone) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Trouble::Hanging) => std::future::pending().await,
                _ => sleep(takes).await,
            }
            let answer = |status| {
                let mut response = Response::new(Full::from(number.to_string()));
                *response.status_mut() = status;
                response
            };
            match trouble {
                Some(Trouble::Resetting) => Err(io::ErrorKind::ConnectionReset.into()),
                Some(Trouble::Failing) => Ok(answer(StatusCode::SERVICE_UNAVAILABLE)),
                _ => {
                    *server.seen().answers.entry(number).or_default() += 1;
                    Ok(answer(StatusCode::OK))
                }
            }
        })
    }
}

// ===== impl AtWork =====

impl AtWork {
    fn begin(server: &Server) -> Self {
        let mut seen = server.seen();
        seen.at_work += 1;
        seen.most_at_work = seen.most_at_work.max(seen.at_work);
        Self(server.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.seen().at_work -= 1;
    }
}
