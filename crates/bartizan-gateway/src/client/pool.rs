//! Connections that wait for another request.

use super::{connection::Connection, error::ClientError};
use crate::upstream::{IDLE, tcp};
use http::{
    Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper_util::client::legacy::connect::HttpConnector;
use std::{
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{runtime::Handle, time::sleep};
use tower_service::Service;

/// Idle connections, those used last at the end: they are taken first, so that the others may go.
pub(super) struct Pool {
    connector: HttpConnector,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Few, so that to look through them is quicker than to hash.
    hosts: Vec<Host>,
    /// Counted in ticks of whoever sweeps, since a clock is dear.
    now: u32,
    /// Gone when nobody sweeps any more, and be it because his runtime has ended.
    sweeper: Weak<()>,
}

struct Host {
    to: Authority,
    idle: Vec<Idle>,
}

struct Idle {
    connection: Connection,
    since: u32,
}

const TICK: Duration = Duration::from_secs(1);
/// A connection that was put back just before a tick waits for almost a tick less.
#[allow(clippy::cast_possible_truncation, reason = "a few")]
const TICKS: u32 = IDLE.as_secs() as u32;
const MOST_PER_HOST: usize = 256;
const MOST_HOSTS: usize = 64;

// ===== impl Pool =====

impl Pool {
    /// A connection that is free, if there is one.
    pub(super) fn take(&self, to: &Authority) -> Option<Connection> {
        let mut waiting = self.lock();
        let host = waiting.hosts.iter_mut().find(|host| host.is(to))?;
        // One that is not ready is still sending a request whose answer came early, or the other side has closed it.
        let free = host.idle.iter().rposition(|idle| idle.connection.is_ready())?;
        Some(host.idle.remove(free).connection)
    }

    /// Keeps a connection for another request.
    pub(super) fn put(self: &Arc<Self>, to: Authority, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut waiting = self.lock();
        let now = waiting.now;
        if waiting.sweeper.strong_count() == 0 {
            // Where nothing runs, nobody would ever close it.
            let Ok(runtime) = Handle::try_current() else { return };
            let sweeper = Arc::new(());
            waiting.sweeper = Arc::downgrade(&sweeper);
            runtime.spawn(sweep(Arc::downgrade(self), sweeper));
        }
        let idle = Idle { connection, since: now };
        let hosts = &mut waiting.hosts;
        let is_room = hosts.len() < MOST_HOSTS;
        match hosts.iter_mut().find(|host| host.is(&to)) {
            Some(host) if host.idle.len() < MOST_PER_HOST => host.idle.push(idle),
            None if is_room => hosts.push(Host { to, idle: vec![idle] }),
            Some(_) | None => {}
        }
    }

    pub(super) async fn connect(&self, to: &Authority) -> Result<Connection, ClientError> {
        let uri =
            Uri::builder().scheme(Scheme::HTTP).authority(to.clone()).path_and_query(PathAndQuery::from_static("/"));
        let uri = uri.build().map_err(|_| ClientError::target("the URI names no host"))?;
        let stream = self.connector.clone().call(uri).await.map_err(|error| ClientError::connecting(error.into()))?;
        Connection::over(stream.into_inner()).await
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Mostly it is the same text at the same place, and nobody has to read it.
    fn is(&self, to: &Authority) -> bool {
        ptr::eq(self.to.as_str(), to.as_str()) || self.to == *to
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { connector: tcp(), waiting: Mutex::default() }
    }
}

/// Closes what has been idle for too long, until nothing is left.
async fn sweep(pool: Weak<Pool>, _sweeper: Arc<()>) {
    loop {
        sleep(TICK).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut waiting = pool.lock();
        waiting.now = waiting.now.wrapping_add(1);
        let now = waiting.now;
        for host in &mut waiting.hosts {
            host.idle.retain(|idle| now.wrapping_sub(idle.since) < TICKS && !idle.connection.is_closed());
        }
        waiting.hosts.retain(|host| !host.idle.is_empty());
        if waiting.hosts.is_empty() {
            waiting.sweeper = Weak::new();
            return;
        }
    }
}
