//! What is said when the demo runs: where everything is, and what to try. Each printed command works as it stands.

use crate::ports::{Ports, SERVICES};
use std::fmt::Write;

pub(crate) fn banner(ports: &Ports) -> String {
    let bff = format!("http://{}", ports.bff());
    let demo = format!("cargo run -qp bff -- {{}}{}", ports.flag());
    let demo = |command: &str| demo.replace("{}", command);
    let mut out = String::from("What runs:\n");
    let width = 16;
    // A `String` takes every write.
    let _ = writeln!(out, "  {:<width$} {bff:<23} in front of them all", "bff");
    for (name, what) in &SERVICES {
        let (service, admin) = (format!("http://{}", ports.service(name)), ports.admin(name).port());
        let _ = writeln!(out, "  {name:<width$} {service:<23} {what}; its faults on {admin}");
    }
    let (users, admin) = (format!("http://{}", ports.service("users")), format!("http://{}", ports.admin("users")));
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

  # a plain streaming proxy; note x-request-id, ratelimit, via and cache-status
  curl -si -H 'x-tenant-id: acme' {bff}/users/u1

  # an order; with the key it may be asked for twice and is placed once
  for i in 1 2; do curl -s -H 'x-tenant-id: acme' -H 'content-type: application/json' -H 'idempotency-key: \"a1\"' -d '{{\"user\":\"u1\",\"item\":\"desk\"}}' {bff}/orders; echo; done

  # 100 000 orders, streamed in constant memory
  curl -s -H 'x-tenant-id: acme' {bff}/reports/orders.json | tail -c 200

  # globex may have five requests a second, and then gets 429; acme is untouched
  for i in $(seq 20); do for t in globex acme; do curl -so /dev/null -w \"$t %{{http_code}}  \" -H \"x-tenant-id: $t\" {bff}/users/u1; done; done; echo

  # what globex is told: how much is left, and when to come back
  sleep 1; for i in $(seq 7); do curl -so /dev/null -D - -H 'x-tenant-id: globex' {bff}/users/u2; done | grep -iE '^(http|ratelimit|retry)'

  # no tenant, and one that nobody knows
  curl -si {bff}/users/u1
  curl -si -H 'x-tenant-id: initech' {bff}/users/u1

  # is it alive? (asks for no tenant)
  curl -s {bff}/livez

What is stored, for each tenant by itself, and says so in Cache-Status:

  # the first is fetched, the second is a hit, the third is another tenant's
  for t in acme acme globex; do curl -si -H \"x-tenant-id: $t\" {bff}/users/u3 | grep -i cache-status; done

  # a user gets another plan behind the BFF's back: what is stored is good for five seconds, and refreshed then
  curl -s -X PUT -H 'content-type: application/json' -d '{{\"plan\":\"team\"}}' {users}/users/u3; echo
  curl -si -H 'x-tenant-id: acme' {bff}/users/u3

  # unless somebody purges all that has its tag: then the new plan is there at once
  curl -s -X POST -H 'content-type: application/json' -d '{{\"tag\":\"user-u3\"}}' {admin}/purge; echo
  curl -si -H 'x-tenant-id: acme' {bff}/users/u3

  # the same in words, and what the cache has done so far
  {purge}
  curl -s {admin}/cache; echo

Break it, and look at the dashboard again:

  # two seconds too slow, and optional: who was here before has theirs from the cache; for others stand in bestsellers
  {slow}

  # one of two replicas breaks every connection: nobody notices
  {replica}

  # a service that is needed is down: what was asked for in the last five minutes is answered all the same, stale (a ttl
  # below zero) or not
  {down}
  curl -si -H 'x-tenant-id: acme' {bff}/users/u1 | grep -iE '^(http|age|cache-status)'

  # what is not stored is a 502, until its breaker opens, and then a 503 at once (the log says when)
  for i in $(seq 9); do curl -so /dev/null -w '%{{http_code}}  ' -H 'x-tenant-id: acme' {bff}/users/u9; done; echo

  # how they all are, and an end to it
  {show}
  {heal}

Load it, or sit back:

  # 200 requests a second for 5 seconds, and how long they took
  {load}

  # all of it as a story, each step checked, on ports of its own
  cargo run -qp bff -- tour

Ctrl-C stops it. The access log follows.
",
        slow = demo("chaos recommendations --latency 2s --for 15s"),
        replica = demo("chaos orders-a --down --for 15s"),
        down = demo("chaos users --down --for 15s"),
        purge = demo("purge recommendations --tenant acme"),
        show = demo("chaos"),
        heal = demo("chaos heal"),
        load = demo("load --rate 200 --for 5s"),
    );
    out
}
