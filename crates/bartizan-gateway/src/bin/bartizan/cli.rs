//! The command line.

use crate::{
    proxy::{Caching, Host, Plan},
    words::Words,
};
use bartizan::{TrustedProxies, access_log::Format, cache::CachePolicy};
use bartizan_gateway::{Forwarding, Proxy, client};
use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Proxy(Box<Plan>),
    Help(&'static str),
}

/// The longest time that a flag takes.
const LONGEST: Duration = Duration::from_secs(3600);
const MOST_THREADS: usize = 1024;
/// Less than this holds nothing.
const SMALLEST_CACHE: u64 = 64 * 1024;
const SIZE: &str = "a size such as 512KiB, 64MiB or 2GiB, of 64KiB at least";
const ADDRESS: &str = "an address with a port, such as 127.0.0.1:8410 or [::1]:8410";
/// What a `QUERY` asks for is held for each that is being read, beside what is stored.
const QUERY: RangeInclusive<u64> = 1024..=1024 * 1024;
const QUERY_SIZE: &str = "a size such as 16KiB, of 1KiB at least and 1MiB at most";

const HELP: &str = "\
Bartizan in front of a service.

Usage: bartizan COMMAND [FLAGS]

  proxy     sends each request on to a service and streams the answer back

  --help    this text; after a command, what it takes
  --version which version this is";

const PROXY_HELP: &str = "\
Sends each request on to a service and streams the answer back. Clients speak HTTP/1.1, or HTTP/2 with prior knowledge
(h2c); the service is spoken to in HTTP/1.1, over connections that are kept. Bodies, trailers, interim responses and
upgrades such as WebSocket pass. SIGINT and SIGTERM let requests finish; a second one does not.

Usage: bartizan proxy --listen ADDRESS --to URL [FLAGS]

  --listen ADDRESS     where clients connect: 127.0.0.1:8410, or [::]:8410 for every address of the machine
  --to URL             the service: http://127.0.0.1:8400, with a path if each request's goes after it
  --host WHOSE         what the service reads in Host: the client's (client, which holds if nothing is said), or that
                       of its own URL (service)
  --forwarded HOW      how the service learns who the client is: x-forwarded (if nothing is said), forwarded (RFC 7239),
                       or off
  --trust CIDR         a network, such as 10.0.0.0/8, whose word about the client is carried on instead of replaced;
                       may be there more than once
  --head-within TIME   how long the service may take for the head of an answer (30s); then it is a 504
  --drain TIME         how long requests may take to finish after a signal (30s)
  --cache SIZE         store responses by the rules of HTTP, in so much memory: 64MiB; nothing is stored otherwise
  --cache-policy WHICH with --cache: safe (if nothing is said), or rfc for everything that RFC 9111 allows
  --cache-query SIZE   with --cache: answer QUERY from the cache, too, where its content is no longer than this, as it is held
                       while it is read: 16KiB; it is read for as long as --head-within says
  --cache-key          with --cache: Cache-Status says under what a response is stored, to every client
  --access-log FORM    a line for each request, on standard output: json, combined (as Apache and nginx write it) or text;
                       none otherwise
  --threads N          how many threads serve (as many as the machine has cores)

Warnings go to standard error. RUST_LOG says what else: info tells why a service did not answer.";

const FLAGS: &str = "--listen, --to, --host, --forwarded, --trust, --head-within, --drain, --cache, --cache-policy, --cache-query, \
     --cache-key, --access-log, --threads and --help";

/// What `arguments` ask for, or what is wrong with them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    match arguments.next().as_deref() {
        Some("proxy") => proxy(&mut Words::new(arguments)),
        Some("help" | "--help" | "-h") => Ok(Command::Help(HELP)),
        Some("--version" | "-V") => Ok(Command::Help(concat!("bartizan ", env!("CARGO_PKG_VERSION")))),
        Some(other) => Err(format!("there is no command {other:?}: there is proxy")),
        None => {
            Err("what shall it do? bartizan proxy --listen 127.0.0.1:8410 --to http://127.0.0.1:8400, for instance"
                .to_owned())
        }
    }
}

fn proxy(words: &mut Words) -> Result<Command, String> {
    let (mut listen, mut to) = (None, None);
    let mut host = Host::Client;
    let mut forwarding = Forwarding::XForwarded;
    let mut trusted: Vec<String> = Vec::new();
    let (mut head_within, mut drain) = (Duration::from_secs(30), Duration::from_secs(30));
    let (mut cache, mut policy, mut query, mut tells_key) = (None, None, None, false);
    let (mut access_log, mut threads) = (None, None);
    while let Some(word) = words.next()? {
        match &*word {
            "--listen" => listen = Some(words.read::<SocketAddr>(ADDRESS, |value| value.parse().ok())?),
            "--to" => to = Some(service(words.value()?)?),
            "--host" => {
                host = words.read("client or service", |value| match value {
                    "client" => Some(Host::Client),
                    "service" => Some(Host::Service),
                    _ => None,
                })?;
            }
            "--forwarded" => {
                forwarding = words.read("x-forwarded, forwarded or off", |value| match value {
                    "x-forwarded" => Some(Forwarding::XForwarded),
                    "forwarded" => Some(Forwarding::Forwarded),
                    "off" => Some(Forwarding::Off),
                    _ => None,
                })?;
            }
            "--trust" => trusted.push(words.read("a network such as 10.0.0.0/8, or an address", |value| {
                TrustedProxies::new([value]).is_ok().then(|| value.to_owned())
            })?),
            "--head-within" => head_within = words.time(LONGEST)?,
            "--drain" => drain = words.time(LONGEST)?,
            "--cache" => cache = Some(words.read(SIZE, |value| size(value, SMALLEST_CACHE..=u64::MAX))?),
            "--cache-policy" => {
                policy = Some(words.read("safe or rfc", |value| match value {
                    "safe" => Some(CachePolicy::new()),
                    "rfc" => Some(CachePolicy::rfc()),
                    _ => None,
                })?);
            }
            "--cache-query" => {
                query = usize::try_from(words.read(QUERY_SIZE, |value| size(value, QUERY))?).ok();
            }
            "--cache-key" => tells_key = true,
            "--access-log" => {
                access_log = Some(words.read("json, combined or text", |value| match value {
                    "json" => Some(Format::Json),
                    "combined" => Some(Format::Combined),
                    "text" => Some(Format::Text),
                    _ => None,
                })?);
            }
            "--threads" => threads = Some(words.number(1..=MOST_THREADS)?),
            "--help" | "-h" => return Ok(Command::Help(PROXY_HELP)),
            flag if flag.starts_with('-') => return Err(format!("there is no flag {flag:?} here: there are {FLAGS}")),
            other => return Err(format!("{other:?} has no meaning here: there are {FLAGS}")),
        }
    }
    let listen = listen.ok_or("where shall it listen? --listen 127.0.0.1:8410, for instance")?;
    let to = to.ok_or("where shall requests go? --to http://127.0.0.1:8400, for instance")?;
    let trusted = TrustedProxies::new(trusted).map_err(|error| format!("--trust: {error}"))?;
    let of_a_cache =
        [("--cache-policy", policy.is_some()), ("--cache-query", query.is_some()), ("--cache-key", tells_key)];
    if let Some((flag, _)) = of_a_cache.into_iter().find(|(_, is_said)| cache.is_none() && *is_said) {
        return Err(format!("{flag} is for a cache: how large may it be? --cache 64MiB, for instance"));
    }
    let cache = cache.map(|bytes| Caching { bytes, policy: policy.unwrap_or_default(), tells_key, query });
    let plan = Plan { listen, to, host, forwarding, trusted, head_within, drain, cache, access_log, threads };
    Ok(Command::Proxy(Box::new(plan)))
}

/// So many bytes: a number, and KiB, MiB or GiB.
fn size(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|char: char| !char.is_ascii_digit())?);
    let bytes = match unit.to_ascii_lowercase().as_str() {
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes).filter(|bytes| range.contains(bytes))
}

/// The URL of a service that can be asked.
fn service(url: String) -> Result<String, String> {
    if url.starts_with("https:") {
        return Err(format!(
            "--to takes a URL that begins with http://, not {url:?}: TLS to the service is not spoken"
        ));
    }
    match Proxy::new(client(), &url) {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("--to takes a URL such as http://127.0.0.1:8400: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        super::parse(line.split_whitespace().map(str::to_owned))
    }

    fn plan(flags: &str) -> Box<Plan> {
        match parse(&format!("proxy --listen 127.0.0.1:8410 --to http://127.0.0.1:8400 {flags}")) {
            Ok(Command::Proxy(plan)) => plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_is_as_the_help_tells() {
        let usual = plan("");
        assert_eq!((usual.listen.port(), &*usual.to), (8410, "http://127.0.0.1:8400"));
        assert_eq!((usual.host, usual.forwarding, usual.threads), (Host::Client, Forwarding::XForwarded, None));
        assert_eq!((usual.head_within, usual.drain), (Duration::from_secs(30), Duration::from_secs(30)));
    }

    #[test]
    fn a_proxy_is_what_its_flags_say() {
        let said = plan(
            "--host=service --forwarded forwarded --trust 10.0.0.0/8 --trust ::1 --head-within 1.5s --drain 2m \
             --threads 1",
        );
        assert_eq!((said.host, said.forwarding, said.threads), (Host::Service, Forwarding::Forwarded, Some(1)));
        assert_eq!((said.head_within, said.drain), (Duration::from_millis(1500), Duration::from_secs(120)));
        let trusted = format!("{:?}", said.trusted);
        assert!(trusted.contains("10.0.0.0/8") && trusted.contains("::1"), "{trusted}");
    }

    #[test]
    fn what_is_stored_is_said_in_bytes_and_by_which_rules_in_a_word() {
        assert!(plan("").cache.is_none());
        let bytes = |flags: &str| plan(flags).cache.map(|cache| cache.bytes);
        assert_eq!(bytes("--cache 64MiB"), Some(64 << 20));
        assert_eq!(bytes("--cache=2gib --cache-policy rfc"), Some(2 << 30));
        assert_eq!(bytes("--cache-policy safe --cache 64KiB"), Some(64 << 10));
        let query = |flags: &str| plan(flags).cache.and_then(|cache| cache.query);
        assert_eq!((query("--cache 1MiB --cache-query 16KiB"), query("--cache 1MiB")), (Some(16 << 10), None));
        let tells_key = |flags: &str| plan(flags).cache.is_some_and(|cache| cache.tells_key);
        assert!(tells_key("--cache 1MiB --cache-key") && !tells_key("--cache 1MiB"));
    }

    #[test]
    fn nothing_is_logged_of_requests_unless_it_is_said_how() {
        assert_eq!(plan("").access_log, None);
        for (said, format) in [("json", Format::Json), ("combined", Format::Combined), ("text", Format::Text)] {
            assert_eq!(plan(&format!("--access-log {said}")).access_log, Some(format));
        }
    }

    #[test]
    fn nonsense_is_named_with_what_would_do() {
        let both = "proxy --listen 127.0.0.1:8410 --to http://127.0.0.1:8400";
        for (line, says) in [
            ("", "what shall it do? bartizan proxy --listen"),
            ("porxy", "there is no command \"porxy\": there is proxy"),
            ("proxy", "where shall it listen? --listen 127.0.0.1:8410, for instance"),
            ("proxy --listen 127.0.0.1:8410", "where shall requests go? --to http://127.0.0.1:8400, for instance"),
            (
                "proxy --listen 8410",
                "--listen takes an address with a port, such as 127.0.0.1:8410 or [::1]:8410, not \"8410\"",
            ),
            ("proxy --listen --to http://h", "--listen needs a value"),
            (
                "proxy --to 127.0.0.1:8400",
                "--to takes a URL such as http://127.0.0.1:8400: the URL \"127.0.0.1:8400\" can't be used",
            ),
            ("proxy --to https://h", "--to takes a URL that begins with http://, not \"https://h\""),
            ("proxy --to http://h/?q", "query"),
            (&format!("{both} --host h"), "--host takes client or service, not \"h\""),
            (&format!("{both} --forwarded on"), "--forwarded takes x-forwarded, forwarded or off, not \"on\""),
            (
                &format!("{both} --trust 10.0.0.0/33"),
                "--trust takes a network such as 10.0.0.0/8, or an address, not \"10.0.0.0/33\"",
            ),
            (
                &format!("{both} --head-within 30"),
                "--head-within takes a time such as 800ms, 15s or 2m, of 3600s at most, not \"30\"",
            ),
            (
                &format!("{both} --cache 64MB"),
                "--cache takes a size such as 512KiB, 64MiB or 2GiB, of 64KiB at least, not \"64MB\"",
            ),
            (&format!("{both} --cache 1KiB"), "--cache takes a size"),
            (&format!("{both} --cache 99999999999999999999GiB"), "--cache takes a size"),
            (&format!("{both} --cache 1MiB --cache-policy fast"), "--cache-policy takes safe or rfc, not \"fast\""),
            (
                &format!("{both} --cache-policy rfc"),
                "--cache-policy is for a cache: how large may it be? --cache 64MiB",
            ),
            (&format!("{both} --access-log"), "--access-log needs a value"),
            (&format!("{both} --access-log xml"), "--access-log takes json, combined or text, not \"xml\""),
            (&format!("{both} --cache-query 16KiB"), "--cache-query is for a cache: how large may it be? --cache"),
            (&format!("{both} --cache 1MiB --cache-query 9"), "--cache-query takes a size"),
            (
                &format!("{both} --cache 1MiB --cache-query 1025KiB"),
                "--cache-query takes a size such as 16KiB, of 1KiB at least and 1MiB at most, not \"1025KiB\"",
            ),
            (&format!("{both} --cache-key"), "--cache-key is for a cache: how large may it be? --cache 64MiB"),
            (&format!("{both} --cache 1MiB --cache-key=no"), "--cache-key takes no value, so \"no\" is one too many"),
            (&format!("{both} --drain 0s"), "--drain takes a time"),
            (&format!("{both} --threads 0"), "--threads takes a number from 1 to 1024, not \"0\""),
            (&format!("{both} --fast"), "there is no flag \"--fast\" here: there are --listen, --to"),
            (&format!("{both} h"), "\"h\" has no meaning here: there are --listen, --to"),
        ] {
            let mistake = parse(line).expect_err(line);
            assert!(mistake.contains(says), "{line}: {mistake}");
            assert!(!mistake.contains('\n'), "one line: {mistake}");
        }
    }

    #[test]
    fn each_command_has_its_help() {
        for (line, flag) in [
            ("help", "proxy"),
            ("--help", "proxy"),
            ("proxy --help", "--head-within TIME"),
            ("proxy -h", "--trust CIDR"),
            ("--version", env!("CARGO_PKG_VERSION")),
        ] {
            let Ok(Command::Help(help)) = parse(line) else { panic!("{line}") };
            assert!(help.contains(flag), "{help}");
        }
    }

    #[test]
    fn every_flag_that_is_named_is_explained() {
        for flag in FLAGS.split([',', ' ']).filter(|word| word.starts_with("--") && *word != "--help") {
            assert!(PROXY_HELP.contains(&format!("\n  {flag} ")), "{flag}");
        }
    }
}
