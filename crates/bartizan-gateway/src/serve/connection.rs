//! One connection, from its first byte to its last.

use super::{
    heads::Heads,
    interim::{Course, Interim},
    seldom::Seldom,
    socket::{Socket, Speaks},
};
use axum::BoxError;
use bartizan::{PeerAddr, Problem, ResponseBody};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tower_service::Service;

/// How long a connection without a request has when the server drains: what its client sent may be on the way to us.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// How long a client has for its first bytes; about as long as it then has for a [head](Heads).
const FIRST_BYTES: Duration = Duration::from_secs(30);
/// HTTP/2: how often a client is asked whether it is there, and how long it may think. HTTP/1.1 has a limit for the next
/// head instead.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Serves one connection, to its end or until it has nothing to answer while the server drains.
pub(super) async fn connection<A, B>(stream: TcpStream, peer: SocketAddr, app: A, mut draining: watch::Receiver<bool>)
where
    A: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let heard = tokio::select! {
        heard = timeout(FIRST_BYTES, Socket::hear(stream)) => heard,
        () = async { drains(&mut draining).await; sleep(FIRST_REQUEST).await } => return,
    };
    let Ok(Ok((socket, speaks))) = heard else { return };
    let heads = Arc::<Heads>::default();
    let counts = Arc::clone(&heads);
    match speaks {
        Speaks::Http1 => {
            let course = Arc::new(Course::default());
            let socket = socket.with(Arc::clone(&course));
            let service = service_fn(move |mut request: Request<Incoming>| {
                counts.came();
                request.extensions_mut().insert(PeerAddr(peer));
                if let Some(interim) = interim(&request, &course) {
                    request.extensions_mut().insert(interim);
                }
                answer(app.clone(), request, Some(Arc::clone(&course)))
            });
            let http = http1::Builder::new().timer(heads.timer()).serve_connection(socket, service).with_upgrades();
            let finish = http1::UpgradeableConnection::graceful_shutdown;
            drive(http, finish, peer, &heads, heads.late(), draining).await;
        }
        Speaks::Http2 => {
            let service = service_fn(move |mut request: Request<Incoming>| {
                counts.came();
                request.extensions_mut().insert(PeerAddr(peer));
                answer(app.clone(), request, None)
            });
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new()).keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
            let http = http.serve_connection(socket, service);
            drive(http, http2::Connection::graceful_shutdown, peer, &heads, pending(), draining).await;
        }
    }
}

/// Serves it until its client is late, and lets it finish what it has begun when the server drains.
async fn drive<C>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    peer: SocketAddr,
    heads: &Heads,
    late: impl Future<Output = ()>,
    mut draining: watch::Receiver<bool>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let stopped = async {
        drains(&mut draining).await;
        timeout(FIRST_REQUEST, heads.first()).await.is_ok()
    };
    let (mut served, mut late, mut stopped) = (pin!(connection), pin!(Seldom::new(late)), pin!(Seldom::new(stopped)));
    let mut finish = Some(finish);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut served => break ended,
            () = &mut late => return tracing::debug!(%peer, "a client took too long for the head of a request"),
            was_asked = &mut stopped, if finish.is_some() => match finish.take() {
                Some(finish) if was_asked => finish(served.as_mut()),
                _ => return,
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// Ends when the server drains.
async fn drains(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|is_draining| *is_draining).await;
}

/// One future, and not one in another: each in which a request and its answer are handed on moves them once more.
async fn answer<A, B>(
    mut app: A,
    mut request: Request<Incoming>,
    course: Option<Arc<Course>>,
) -> Result<Response<ResponseBody<B>>, Infallible>
where
    A: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    let answer = if names_one_host(&mut request) {
        poll_fn(|cx| app.poll_ready(cx)).await?;
        app.call(request).await?.map(ResponseBody::inner)
    } else {
        no_host(&request).map(ResponseBody::own)
    };
    if let Some(course) = course {
        poll_fn(|cx| course.poll_end(cx)).await;
    }
    Ok(answer)
}

/// What may be said before the answer, if the client understands it. RFC 9110 §15.2: one of HTTP/1.0 does not.
fn interim<B>(request: &Request<B>, course: &Arc<Course>) -> Option<Interim> {
    let expects = || request.headers().contains_key(header::EXPECT);
    (request.version() == Version::HTTP_11).then(|| course.begin(expects()))
}

/// RFC 9112 §3.2: in HTTP/1.1 a request names its host, once, by its grammar. With two, nobody can tell which site is meant;
/// if the target names it, that holds, and `Host` is made to say the same (§3.2.2). RFC 9113 §8.3.1: in HTTP/2 it does so in its
/// target, without a user, and a `Host` beside it says the same.
fn names_one_host<B>(request: &mut Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return false;
    }
    match (request.version(), request.uri().authority(), host) {
        (Version::HTTP_2, Some(target), host) => {
            let target = target.as_str();
            !target.contains('@') && host.is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(target.as_bytes()))
        }
        // Only `CONNECT` names a host and no scheme.
        (_, Some(_), _) if request.uri().scheme().is_none() => *request.method() == Method::CONNECT,
        (version, target, host) => {
            let is_named = host.map_or(version < Version::HTTP_11, |host| host.as_bytes().iter().all(is_of_a_host));
            let named = target.map(|target| target.as_str().rsplit('@').next().unwrap_or_default());
            if let Some(named) = named.and_then(|named| HeaderValue::try_from(named).ok()) {
                request.headers_mut().insert(header::HOST, named);
            }
            is_named
        }
    }
}

/// RFC 3986 §3.2.2, §3.2.3: what may stand in a host with its port.
fn is_of_a_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

#[cold]
fn no_host<B>(request: &Request<B>) -> Response<Bytes> {
    let problem = Problem::new(StatusCode::BAD_REQUEST).detail("a request names its host, once and as RFC 9110 has it");
    let mut response = problem.to_response(request.headers());
    // Whoever sends this may mean something else by what follows, too.
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
