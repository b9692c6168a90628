//! What is sent, when, and where to.

use super::path::Path;
use http::{HeaderValue, Uri, uri::Authority};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// A run of the generator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    /// How many requests are due in a second.
    pub(crate) rate: u32,
    /// For how long.
    pub(crate) time: Duration,
    /// How many may be in flight at once. Who is due beyond that waits, and the wait counts.
    pub(crate) in_flight: usize,
}

/// Who is asked: somebody on this machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    addr: SocketAddr,
    /// Asked for in turns.
    paths: Vec<Path>,
    pub(super) tenant: HeaderValue,
}

// ===== impl Plan =====

impl Plan {
    /// The most requests in a second.
    pub(crate) const MAX_RATE: u32 = 5_000;
    /// The longest run.
    pub(crate) const MAX_TIME: Duration = Duration::from_secs(600);
    /// The most in flight: well below the 1024 files that a process may have open on many machines.
    pub(crate) const MAX_IN_FLIGHT: usize = 512;

    /// How many requests the run has.
    pub(crate) fn requests(&self) -> u64 {
        let nanos = u128::from(self.rate) * self.time.as_nanos();
        u64::try_from(nanos.div_ceil(NANOS_PER_SECOND)).expect("5000 a second for 600 seconds")
    }

    /// When the nth request is due, counted from 0 and from the start.
    pub(crate) fn due(&self, nth: u64) -> Duration {
        let nanos = u128::from(nth) * NANOS_PER_SECOND / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).expect("within the time of the run"))
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, rate, time, .. } = self;
        let tenant = String::from_utf8_lossy(target.tenant.as_bytes());
        write!(f, "{rate} a second for {time:?} to http://{}, as {}:", target.addr, tenant)?;
        target.paths.iter().try_for_each(|path| write!(f, " {path}"))
    }
}

// ===== impl Target =====

impl Target {
    /// These paths of the server at `addr`.
    ///
    /// # Errors
    /// If it is not on this machine, a path is none, or the tenant's name could not be sent.
    pub(crate) fn new(addr: SocketAddr, paths: &[String], tenant: &str) -> Result<Self, String> {
        if !addr.ip().is_loopback() {
            return Err(format!("it loads this machine alone, and {} is another: try 127.0.0.1", addr.ip()));
        }
        let paths = paths.iter().map(|path| Path::new(addr, path));
        let tenant =
            tenant.parse().map_err(|_| format!("a tenant's id goes into a header field, and {tenant:?} can't"))?;
        Ok(Self { addr, paths: paths.collect::<Result<_, _>>()?, tenant })
    }

    /// The address of `http://HOST:PORT`, where the scheme may be missing and the host is an address or `localhost`.
    /// No name is looked up: what it leads to today may be elsewhere tomorrow.
    pub(crate) fn addr_of(url: &str) -> Result<SocketAddr, String> {
        let asked = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let what_helps = || format!("it takes an address of this machine, such as 127.0.0.1:8080, not {url:?}");
        let authority: Authority = asked.parse().map_err(|_| what_helps())?;
        let host = authority.host().trim_matches(['[', ']']);
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| what_helps())?,
        };
        match authority.port_u16() {
            _ if authority.as_str().contains('@') => Err(what_helps()),
            None => Err(what_helps()),
            Some(port) => Ok((ip, port).into()),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn nth(&self, nth: u64) -> Uri {
        let (turn, round) = (nth % self.paths.len() as u64, nth / self.paths.len() as u64);
        self.paths[usize::try_from(turn).expect("less than the paths there are")].nth(round)
    }

    pub(super) async fn is_there(&self) -> io::Result<()> {
        timeout(Duration::from_secs(1), TcpStream::connect(self.addr)).await??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(rate: u32, time: Duration) -> Plan {
        let target = Target::new(([127, 0, 0, 1], 8080).into(), &["/".to_owned()], "acme").unwrap();
        Plan { target, rate, time, in_flight: 1 }
    }

    proptest! {
        #[test]
        fn the_schedule_is_even_and_ends_with_the_time(rate in 1..=Plan::MAX_RATE, millis in 1..=600_000_u64) {
            let plan = plan(rate, Duration::from_millis(millis));
            let requests = plan.requests();
            // Never a request at or past the end, and none missing before it.
            prop_assert!(plan.due(requests - 1) < plan.time);
            prop_assert!(plan.due(requests) + Duration::from_nanos(1) >= plan.time);
            for nth in [0, requests / 2, requests - 1] {
                let gap = (plan.due(nth + 1) - plan.due(nth)).as_nanos();
                prop_assert!(gap.abs_diff(NANOS_PER_SECOND / u128::from(rate)) <= 1);
            }
        }
    }

    #[test]
    fn nobody_is_loaded_but_this_machine() {
        for elsewhere in ["192.0.2.1:80", "http://10.0.0.1:8080", "[2001:db8::1]:80", "0.0.0.0:80"] {
            let addr = Target::addr_of(elsewhere).expect("an address");
            let refused = Target::new(addr, &["/".to_owned()], "acme").unwrap_err();
            assert!(refused.contains("this machine"), "{refused}");
        }
        for named in
            ["example.com:80", "http://localhost.example.com:80", "127.0.0.1:80@example.com:80", "https://127.0.0.1:1"]
        {
            assert!(Target::addr_of(named).is_err(), "{named}");
        }
        for here in ["127.0.0.1:8080", "http://localhost:8080/", "http://127.9.9.9:8080", "[::1]:8080"] {
            let addr = Target::addr_of(here).expect("an address");
            assert!(Target::new(addr, &["/".to_owned()], "acme").is_ok(), "{here}");
        }
    }

    #[test]
    fn a_tenant_that_could_not_be_sent_is_refused() {
        let addr = Target::addr_of("127.0.0.1:8080").unwrap();
        assert!(Target::new(addr, &["/".to_owned()], "a\r\nx: y").is_err());
    }

    #[test]
    fn a_path_cannot_lead_to_another_host() {
        let addr = Target::addr_of("127.0.0.1:8080").unwrap();
        for path in ["users", "@example.com/", "http://example.com/", "/a b", ""] {
            assert!(Target::new(addr, &[path.to_owned()], "acme").is_err(), "{path}");
        }
        let target = Target::new(addr, &["//example.com/".to_owned(), "/b".to_owned()], "acme").unwrap();
        assert_eq!(target.nth(0).authority().unwrap().as_str(), "127.0.0.1:8080");
        assert_eq!((target.nth(1).path(), target.nth(3).path()), ("/b", "/b"));
    }
}
