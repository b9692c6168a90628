//! `bartizan proxy`: one service behind, and nothing but HTTP in between.

use crate::{lines::Lines, note, say};
use axum::BoxError;
use bartizan::{
    TrustedProxies,
    access_log::{AccessLogLayer, Format},
    cache::{CacheLayer, CachePolicy, KeyRules, QueryLayer, ResponseCache},
};
use bartizan_gateway::{Client, Drained, Forwarding, Proxy, ProxyError, bind, client, serve, shutdown_signal};
use bytes::Bytes;
use http::{HeaderName, Request, Response, header};
use hyper::body::Incoming;
use std::{convert::Infallible, error::Error, io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower::{Layer, Service};

/// What the proxy is to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) listen: SocketAddr,
    pub(crate) to: String,
    pub(crate) host: Host,
    pub(crate) forwarding: Forwarding,
    pub(crate) trusted: TrustedProxies,
    pub(crate) head_within: Duration,
    pub(crate) drain: Duration,
    pub(crate) cache: Option<Caching>,
    /// A line for each request, on standard output.
    pub(crate) access_log: Option<Format>,
    /// As many as there are cores, if nothing is said.
    pub(crate) threads: Option<usize>,
}

/// What is stored, and by which rules.
#[derive(Debug)]
pub(crate) struct Caching {
    pub(crate) bytes: u64,
    pub(crate) policy: CachePolicy,
    /// Whether `Cache-Status` says under what.
    pub(crate) tells_key: bool,
    /// How much of what a `QUERY` asks for is read.
    pub(crate) query: Option<usize>,
}

/// Whose name stands in `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Client,
    Service,
}

/// How long whoever reads the access log has for the rest of it, once the last request has ended.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs until it is told to stop, and what was begun by then has ended.
pub(crate) fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let lines = plan.access_log.map(|format| Ok::<_, io::Error>((format, Lines::to(io::stdout())?))).transpose()?;
    let runtime = runtime(plan.threads)?;
    let served = runtime.block_on(serve_by(plan, lines.clone()));
    // What is cut off ends with it, and each of that is a line.
    drop(runtime);
    if let Some((_, lines)) = lines {
        lines.finish(LAST_LINES);
    }
    note(&served?.to_string());
    Ok(())
}

/// An access log: its form, and who writes it.
type Log = Option<(Format, Lines)>;

async fn serve_by(plan: &Plan, log: Log) -> Result<Drained, Box<dyn Error>> {
    let listener = bind(plan.listen).await?;
    let app = app(plan)?;
    let banner = banner(listener.local_addr()?, &plan.to);
    match log {
        None => say(&banner),
        // Whoever reads lines there expects no others.
        Some(_) => note(&banner),
    }
    Ok(match &plan.cache {
        None => logged(listener, app, plan, log).await,
        Some(Caching { bytes, policy, tells_key, query }) => {
            let policy = policy.clone().written_behind(written_by_the_proxy(plan.forwarding));
            // What stays of it behind the front is what somebody trusted says.
            let keys = KeyRules::new().with_forwarding();
            let mut cache = CacheLayer::new(ResponseCache::new(*bytes)).policy(policy).keys(keys);
            if *tells_key {
                cache = cache.cache_status_with_key();
            }
            let cached = app.front().layer(cache.layer(app));
            match *query {
                None => logged(listener, cached, plan, log).await,
                Some(most) => {
                    let reads = QueryLayer::new(most).read_within(plan.head_within);
                    logged(listener, reads.layer(cached), plan, log).await
                }
            }
        }
    })
}

/// The field by which a response may vary that differs from client to client only behind the cache.
fn written_by_the_proxy(forwarding: Forwarding) -> Option<HeaderName> {
    match forwarding {
        Forwarding::XForwarded => Some(HeaderName::from_static("x-forwarded-for")),
        Forwarding::Forwarded => Some(header::FORWARDED),
        _ => None,
    }
}

/// Serves, with an access log if there is to be one.
async fn logged<S, B>(listener: TcpListener, app: S, plan: &Plan, log: Log) -> Drained
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let limit = plan.drain;
    match log {
        None => serve(listener, app).until(stopped(limit)).drain(limit).run().await,
        Some((format, lines)) => {
            let log = AccessLogLayer::new().client_by(plan.trusted.clone()).write_to(lines, format);
            serve(listener, log.layer(app)).until(stopped(limit)).drain(limit).run().await
        }
    }
}

async fn stopped(limit: Duration) {
    shutdown_signal().await;
    note(&format!("stopping: up to {limit:?} for the requests that are being answered; Ctrl-C again stops at once"));
    tokio::spawn(async {
        shutdown_signal().await;
        std::process::exit(130)
    });
}

/// What a request goes through. Layers go round the proxy here.
fn app(plan: &Plan) -> Result<Proxy<Client>, ProxyError> {
    let proxy = Proxy::new(client(), &plan.to)?
        .head_within(plan.head_within)
        .forwarding(plan.forwarding)
        .trusted(plan.trusted.clone())
        .upgrades();
    Ok(match plan.host {
        Host::Client => proxy.keep_host(),
        Host::Service => proxy,
    })
}

/// One thread needs no others to share its work with.
fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = match threads {
        Some(1) => Builder::new_current_thread(),
        Some(threads) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
        None => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

fn banner(listens: SocketAddr, to: &str) -> String {
    // What listens on every address is reached at this one.
    let mut at = listens;
    if at.ip().is_unspecified() {
        at.set_ip(if at.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("bartizan proxy: http://{listens} -> {to} (HTTP/1.1 and h2c; Ctrl-C stops it)\n  curl -i http://{at}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_leads_somewhere() {
        for (listens, curl) in [
            ("127.0.0.1:1", "curl -i http://127.0.0.1:1/"),
            ("0.0.0.0:1", "curl -i http://127.0.0.1:1/"),
            ("[::]:1", "curl -i http://[::1]:1/"),
        ] {
            let said = banner(listens.parse().unwrap(), "http://h");
            assert!(said.ends_with(curl), "{said}");
        }
    }
}
