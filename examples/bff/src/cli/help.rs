//! What `--help` says.

pub(super) const HELP: &str = "\
The demo of Bartizan: four services and a backend for frontend, in one process.

Usage: cargo run -p bff [-- [COMMAND] [FLAGS]]

  (none)      starts the demo, prints what to try, and runs until Ctrl-C
  load        sends it requests at a steady rate, and tells how long they took
  chaos       breaks its services on purpose, and heals them
  purge       takes back what is stored of their answers, by tag
  tour        plays a story of failures on ports of its own, and checks each step

  --port N    the BFF listens on N and the services on the fifteen ports after it
              (without it: 8080, 7101 to 7105, and 7111 to 7115)
  --help      this text; after a command, what it takes";

pub(super) const LOAD_HELP: &str = "\
Sends requests to a running demo at a steady rate, whether or not those before them have been answered. The latency of
each counts from when it was due. Ctrl-C ends it early; who is without an answer then has waited until then.

Usage: cargo run -p bff -- load [FLAGS]

  --rate N        requests in a second (200; at most 5000)
  --for TIME      for how long (20s; at most 10m)
  --path PATH     what to ask for (/dashboard/web/u1); more than one take turns, and /users/u{1-999} is another user each
                  time, from the first to the last and again: what is asked for once is answered by no cache
  --tenant ID     who asks (acme)
  --in-flight N   how many at once (256; at most 512); who is due beyond that waits, and the wait counts
  --port N        where the demo runs, if not on 8080
  --to ADDRESS    another server instead, on this machine alone: 127.0.0.1:3000";

pub(super) const CHAOS_HELP: &str = "\
Breaks the services of a running demo on purpose, and heals them. Without a service it tells how all of them are.

Usage: cargo run -p bff -- chaos [SERVICE] [FLAGS]
       cargo run -p bff -- chaos [SERVICE] heal

  SERVICE              users, orders (or orders-a, orders-b), notifications, recommendations
  --latency TIME       answers come this much later; 200ms..800ms for any time between
  --error-rate RATE    this share of requests fails, from 0 to 1
  --status CODE        with this status (503)
  --reset-rate RATE    this share of connections breaks instead of an answer (to HEAD it is a 502)
  --down               all of them do
  --truncate BYTES     bodies break off after so many bytes
  --bandwidth BYTES    bodies come at so many bytes a second
  --for TIME           it heals by itself after this time
  --port N             where the demo runs, if not on 8080

The same over HTTP, on a port of each service's own (7111 for users): GET, PUT and DELETE of /faults, as in
  curl -X PUT 127.0.0.1:7111/faults -H 'content-type: application/json' -d '{\"latency_ms\":800,\"for_ms\":15000}'
with latency_max_ms, error_rate, status, reset_rate, truncate_bytes and bytes_per_second beside these.";

pub(super) const PURGE_HELP: &str = "\
Takes back what a running demo has stored, by tag. A user has the tag user-<id>, and so have the recommendations for that
user; all of those have the tag recommendations.

Usage: cargo run -p bff -- purge TAG [FLAGS]

  --tenant ID     what is stored for this tenant (for all of them)
  --port N        where the demo runs, if not on 8080

The same over HTTP, on the ports on which faults are switched: POST of /purge, as in
  curl -X POST 127.0.0.1:7111/purge -H 'content-type: application/json' -d '{\"tag\":\"user-u1\"}'
and GET of /cache tells what the cache has done.";

pub(super) const TOUR_HELP: &str = "\
Starts a demo of its own, breaks it step by step, shows what its users see, and checks it. It takes less than a minute,
and exits with 1 if anything was not as told.

Usage: cargo run -p bff -- tour [--port N]

  --port N    the first of sixteen ports in a row (18080)";
