//! pingora as a reverse proxy of one thread, to stand beside `bartizan proxy` in `benches/sockets.sh`: connections are
//! kept on both sides, and the same fields are added.
//!
//!     bartizan-bench-pingora 127.0.0.1:8410 127.0.0.1:8400

use async_trait::async_trait;
use pingora::{
    http::{RequestHeader, ResponseHeader},
    prelude::{HttpPeer, ProxyHttp, Result, Server, Session, http_proxy_service},
    server::{RunArgs, configuration::ServerConf},
};
use std::{net::SocketAddr, process::ExitCode};

struct Pass {
    to: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Pass {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.to, false, String::new())))
    }

    async fn upstream_request_filter(&self, of: &mut Session, head: &mut RequestHeader, (): &mut ()) -> Result<()> {
        if let Some(peer) = of.client_addr().and_then(|addr| addr.as_inet()) {
            head.insert_header("X-Forwarded-For", peer.ip().to_string())?;
        }
        head.insert_header("X-Forwarded-Proto", "http")?;
        if let Some(host) = head.headers.get("Host").cloned() {
            head.insert_header("X-Forwarded-Host", host)?;
        }
        head.append_header("Via", "1.1 pingora")?;
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, head: &mut ResponseHeader, (): &mut ()) -> Result<()> {
        head.append_header("Via", "1.1 pingora")?;
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(listen), Some(Ok(to)), None) = (words.next(), words.next().map(|to| to.parse()), words.next()) else {
        eprintln!("usage: bartizan-bench-pingora LISTEN TO, two addresses such as 127.0.0.1:8410 127.0.0.1:8400");
        return ExitCode::from(2);
    };
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 256,
        // SIGTERM ends it at once, and not after five minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Pass { to });
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run(RunArgs::default());
    ExitCode::SUCCESS
}
