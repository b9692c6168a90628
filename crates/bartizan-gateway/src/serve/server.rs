//! Serving an application, and an end that nobody notices.

use super::connection::connection;
use axum::BoxError;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    fmt,
    future::{Future, pending},
    io, iter,
    net::SocketAddr,
    pin::pin,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

/// An address that can't be listened on. It prints as one line that says what to do.
#[derive(Debug)]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

/// Listens on `addr`.
///
/// # Errors
/// If another program listens there, or the address is not ours to use.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| BindError { addr, source })
}

/// Serves `app` (an axum router, or any service) over HTTP/1.1 and HTTP/2, with [`PeerAddr`](bartizan::PeerAddr) in each
/// request.
///
/// There is no TLS, so a client speaks HTTP/2 by beginning with it (RFC 9113 §3.3, prior knowledge); which of them it is,
/// its first bytes tell. A request that does not name one host is answered with 400 (RFC 9112 §3.2, RFC 9113 §8.3.1) and
/// never seen by `app`. An upgrade, such as to a WebSocket, is for `app` to take; from then on the connection is its own,
/// and no drain waits for it. In HTTP/1.1 `app` may send [interim](crate::Interim) responses.
///
/// It serves until [`until`](Serve::until) says stop; then whoever has connected so far is still answered, no connection
/// is accepted any more, those without a request are closed, and the requests that are being answered are given the
/// time of [`drain`](Serve::drain) to finish.
///
/// ```no_run
/// use axum::Router;
/// use bartizan_gateway::{bind, serve, shutdown_signal};
/// use std::time::Duration;
///
/// # async fn run(app: Router) -> Result<(), bartizan_gateway::BindError> {
/// let listener = bind("127.0.0.1:8080".parse().expect("an address")).await?;
/// let drained = serve(listener, app).until(shutdown_signal()).drain(Duration::from_secs(20)).run().await;
/// eprintln!("{drained}");
/// # Ok(()) }
/// ```
pub fn serve<A>(listener: TcpListener, app: A) -> Serve<A, std::future::Pending<()>> {
    Serve { listener, app, stop: pending(), drain: Duration::from_secs(30) }
}

/// Made by [`serve()`].
#[derive(Debug)]
#[must_use = "nothing is served until it is `run`"]
pub struct Serve<A, F> {
    listener: TcpListener,
    app: A,
    stop: F,
    drain: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many connections were answering a request when the time was over, and have been closed.
    pub left: usize,
    /// How many had been open when it was told to stop, and came to their end in time.
    pub finished: usize,
}

/// Ends when the program is told to stop: by Ctrl-C, or by `SIGTERM`.
pub async fn shutdown_signal() {
    let ctrl_c = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "Ctrl-C can't be heard");
            pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => _ = terminate.recv().await,
            Err(error) => {
                tracing::error!(%error, "SIGTERM can't be heard");
                pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = pending::<()>();
    tokio::select! { () = ctrl_c => {}, () = terminate => {} }
}

// ===== impl Serve =====

impl<A, F> Serve<A, F> {
    /// Serves until `stop` ends.
    pub fn until<G: Future>(self, stop: G) -> Serve<A, G> {
        Serve { listener: self.listener, app: self.app, stop, drain: self.drain }
    }

    /// How long requests may take to finish after that. Thirty seconds, if nothing is said.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Serves. If the future is dropped, all connections are closed.
    pub async fn run<B>(self) -> Drained
    where
        A: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
            + Clone
            + Send
            + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
        F: Future,
    {
        let Self { listener, app, stop, drain } = self;
        let (draining, _) = watch::channel(false);
        let mut connections = JoinSet::new();
        {
            let mut stop = pin!(stop);
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stop => break,
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => match accepted {
                        Ok((stream, peer)) => {
                            _ = connections.spawn(connection(stream, peer, app.clone(), draining.subscribe()));
                        }
                        Err(error) => recover(&error).await,
                    },
                }
            }
        }
        for (stream, peer) in connected_already(listener) {
            connections.spawn(connection(stream, peer, app.clone(), draining.subscribe()));
        }
        draining.send_replace(true);

        while connections.try_join_next().is_some() {}
        let open = connections.len();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(drain, all_ended).await;
        let left = connections.len();
        connections.shutdown().await;
        Drained { left, finished: open - left }
    }
}

/// Those whom the kernel has let in on our behalf, and would show the door with the listener. No more than its queue
/// holds, so that a crowd can't keep us here.
fn connected_already(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // Tokio's own `accept` knows of them only once it has waited.
    let listener = listener.into_std().ok();
    let waiting = iter::from_fn(move || listener.as_ref()?.accept().ok()).take(1024);
    waiting.filter_map(|(stream, peer)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

/// A client that left while it was accepted is no reason to wait. Anything else most likely means that there are no
/// file descriptors left, and accepting again at once would spin.
async fn recover(error: &io::Error) {
    let of_the_client =
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !of_the_client.contains(&error.kind()) {
        tracing::error!(%error, "no connection can be accepted; trying again in a second");
        sleep(Duration::from_secs(1)).await;
    }
}

// ===== impl BindError =====

impl BindError {
    /// Whether another program listens there.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "port {} is taken: stop the program that listens on {addr}, or choose another port",
                    addr.port()
                )
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "port {} is not for ordinary programs: choose one above 1023", addr.port())
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "{} is not an address of this machine: try 127.0.0.1 or 0.0.0.0", addr.ip())
            }
            _ => write!(f, "can't listen on {addr}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

// ===== impl Drained =====

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, finished } = self;
        match (left, finished) {
            (0, 0) => f.write_str("drained: no connection was open"),
            (0, _) => write!(f, "drained: all connections came to their end ({finished})"),
            _ => write!(f, "the time to drain is over: connections that were still busy have been closed ({left})"),
        }
    }
}
