//! Which ports are used, and what is said about them.

use bartizan_gateway::BindError;
use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
};

pub(crate) const HELP: &str = "\
The demo of Bartizan: four services and a backend for frontend, in one process.

Usage: cargo run -p bff [-- --port N]

  --port N    the BFF listens on N and the services on N+1 to N+5
              (without it: 8080, and 7101 to 7105)
  --help      this text

Stop it with Ctrl-C.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run(Ports),
    Help,
}

/// The ports of everything that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    bff: u16,
    first_service: u16,
}

/// The services that the demo starts, in the order of their ports.
pub(crate) const SERVICES: [(&str, &str); 5] = [
    ("users", "fast"),
    ("orders-a", "one of two replicas"),
    ("orders-b", "the other one, slower"),
    ("notifications", "fails 2 % of the time"),
    ("recommendations", "slow, sometimes too slow"),
];

pub(crate) fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut ports = Ports { bff: 8080, first_service: 7101 };
    while let Some(argument) = arguments.next() {
        let port = match argument.as_str() {
            "--help" | "-h" => return Ok(Wanted::Help),
            "--port" => arguments.next().ok_or("--port needs a number")?,
            other => match other.strip_prefix("--port=") {
                Some(port) => port.to_owned(),
                None => return Err(format!("there is no flag {other:?}")),
            },
        };
        let highest = u16::MAX - 5; // the services come after it
        let bff = port.parse().ok().filter(|port| (1..=highest).contains(port));
        let bff = bff.ok_or_else(|| format!("--port takes a number from 1 to {highest}, not {port:?}"))?;
        ports = Ports { bff, first_service: bff + 1 };
    }
    Ok(Wanted::Run(ports))
}

impl Ports {
    pub(crate) fn bff(&self) -> SocketAddr {
        loopback(self.bff)
    }

    /// The address of one of [`SERVICES`].
    pub(crate) fn service(&self, name: &str) -> SocketAddr {
        let offset = SERVICES.iter().map(|(service, _)| *service).take_while(|service| *service != name).count();
        loopback(self.first_service.saturating_add(u16::try_from(offset).unwrap_or_default()))
    }

    /// The error of a port that can't be had, and the flag that helps.
    pub(crate) fn advise(&self, error: &BindError) -> String {
        let other = if self.bff < 60_000 { self.bff + 1000 } else { 8080 };
        format!("{error} with: cargo run -p bff -- --port {other}")
    }

    /// What runs, and what to try.
    pub(crate) fn banner(&self) -> String {
        let bff = format!("http://{}", self.bff());
        let mut out = String::from("What runs:\n");
        let width = 16;
        for (name, what) in [("bff", "in front of them all")].iter().chain(&SERVICES) {
            let addr = if *name == "bff" { self.bff() } else { self.service(name) };
            let _ = writeln!(out, "  {name:<width$} http://{addr:<16} {what}"); // a `String` takes every write
        }
        let _ = write!(
            out,
            "
What to try, in another terminal:

  # four services at once, shaped for the web; _meta tells how each of them went
  curl -s -H 'x-tenant-id: acme' {bff}/dashboard/web/u1

  # the same for a phone: fewer fields, fewer orders
  curl -s -H 'x-tenant-id: acme' {bff}/dashboard/mobile/u1

  # a required service says 404, so the answer is a 404 that names it
  curl -si -H 'x-tenant-id: acme' {bff}/dashboard/web/nobody

  # a plain streaming proxy; note x-request-id, ratelimit and via
  curl -si -H 'x-tenant-id: acme' {bff}/users/u1

  # 100 000 orders, streamed in constant memory
  curl -s -H 'x-tenant-id: acme' {bff}/reports/orders.json | tail -c 200

  # globex may have five requests a second, and then gets 429; acme is untouched
  for i in $(seq 8); do for t in globex acme; do curl -so /dev/null -w \"$t %{{http_code}}  \" -H \"x-tenant-id: $t\" {bff}/users/u1; done; done; echo

  # what globex is told: how much is left, and when to come back
  sleep 1; for i in $(seq 7); do curl -so /dev/null -D - -H 'x-tenant-id: globex' {bff}/users/u2; done | grep -iE '^(http|ratelimit|retry)'

  # no tenant, and one that nobody knows
  curl -si {bff}/users/u1
  curl -si -H 'x-tenant-id: initech' {bff}/users/u1

  # is it alive? (asks for no tenant)
  curl -s {bff}/livez

Ctrl-C stops it. The access log follows.
"
        );
        out
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Wanted, String> {
        wanted(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn one_flag_shifts_all_ports() {
        let Ok(Wanted::Run(ports)) = parse(&["--port", "9000"]) else { panic!("it runs") };
        assert_eq!(ports.bff().port(), 9000);
        let of_services: Vec<_> = SERVICES.iter().map(|(name, _)| ports.service(name).port()).collect();
        assert_eq!(of_services, [9001, 9002, 9003, 9004, 9005]);
        assert_eq!(parse(&["--port=9000"]), Ok(Wanted::Run(ports)));
        assert_eq!(parse(&["--help"]), Ok(Wanted::Help));
    }

    #[test]
    fn nonsense_is_named() {
        for (arguments, mistake) in [
            (&["--prot", "1"][..], "there is no flag \"--prot\""),
            (&["--port"], "--port needs a number"),
            (&["--port", "x"], "--port takes a number from 1 to 65530, not \"x\""),
            (&["--port", "0"], "--port takes a number from 1 to 65530, not \"0\""),
            (&["--port", "65531"], "--port takes a number from 1 to 65530, not \"65531\""),
        ] {
            assert_eq!(parse(arguments), Err(mistake.to_owned()));
        }
    }
}
