//! The command line.

mod help;
mod values;
// One copy, and no crate for fifty lines that two programs share.
#[path = "../../../../crates/bartizan-gateway/src/bin/bartizan/words.rs"]
mod words;

use self::{
    help::{CHAOS_HELP, HELP, LOAD_HELP, PURGE_HELP, TOUR_HELP},
    values::millis,
    words::Words,
};
use crate::{
    chaos::{Action, Harm, Services},
    load::{Plan, Target},
    ports::Ports,
    purge::Wanted,
};
use std::time::Duration;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Run(Ports),
    Load(Plan),
    Chaos(Action, Ports),
    Purge(Wanted, Ports),
    Tour(Ports),
    Help(&'static str),
}

/// Where a tour runs, if nothing is said: beside a demo.
const TOUR: Ports = Ports::from(18_080);

/// What `arguments` ask for, or what is wrong with them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut arguments = arguments.into_iter().peekable();
    let command = arguments.next_if(|first| !first.starts_with('-'));
    let mut words = Words::new(arguments);
    match command.as_deref() {
        None => run(&mut words),
        Some("load") => load(&mut words),
        Some("chaos") => chaos(&mut words),
        Some("purge") => purge(&mut words),
        Some("tour") => tour(&mut words),
        Some("help") => Ok(Command::Help(HELP)),
        Some(other) => Err(format!("there is no command {other:?}: there are load, chaos, purge and tour")),
    }
}

fn run(words: &mut Words) -> Result<Command, String> {
    let mut ports = Ports::USUAL;
    while let Some(word) = words.next()? {
        match &*word {
            "--port" => ports = words.ports()?,
            "--help" | "-h" => return Ok(Command::Help(HELP)),
            _ => return Err(unknown(&word, "--port and --help; load, chaos, purge and tour go first")),
        }
    }
    Ok(Command::Run(ports))
}

fn load(words: &mut Words) -> Result<Command, String> {
    let mut addr = Ports::USUAL.bff();
    let mut paths = Vec::new();
    let mut tenant = "acme".to_owned();
    let (mut rate, mut time, mut in_flight) = (200, Duration::from_secs(20), 256);
    while let Some(word) = words.next()? {
        match &*word {
            "--rate" => rate = words.number(1..=Plan::MAX_RATE)?,
            "--for" => time = words.time(Plan::MAX_TIME)?,
            "--path" => paths.push(words.value()?),
            "--tenant" => tenant = words.value()?,
            "--in-flight" => in_flight = words.number(1..=Plan::MAX_IN_FLIGHT)?,
            "--port" => addr = words.ports()?.bff(),
            "--to" => addr = Target::addr_of(&words.value()?).map_err(|why| format!("--to: {why}"))?,
            "--help" | "-h" => return Ok(Command::Help(LOAD_HELP)),
            _ => return Err(unknown(&word, "--rate, --for, --path, --tenant, --in-flight, --port and --to")),
        }
    }
    if paths.is_empty() {
        paths.push("/dashboard/web/u1".to_owned());
    }
    Ok(Command::Load(Plan { target: Target::new(addr, &paths, &tenant)?, rate, time, in_flight }))
}

fn chaos(words: &mut Words) -> Result<Command, String> {
    let (mut ports, mut services, mut heal) = (Ports::USUAL, None, false);
    let mut harm = Harm::default();
    while let Some(word) = words.next()? {
        match &*word {
            "heal" => heal = true,
            "--latency" => (harm.latency_ms, harm.latency_max_ms) = words.times()?,
            "--error-rate" => harm.error_rate = Some(words.rate()?),
            "--status" => harm.status = Some(words.number(200..=599)?),
            "--reset-rate" => harm.reset_rate = Some(words.rate()?),
            "--down" => harm.reset_rate = Some(1.),
            "--truncate" => harm.truncate_bytes = Some(words.number(0..=u64::MAX)?),
            "--bandwidth" => harm.bytes_per_second = Some(words.number(1..=u32::MAX)?),
            "--for" => harm.for_ms = Some(millis(words.time(Harm::MAX)?)),
            "--port" => ports = words.ports()?,
            "--help" | "-h" => return Ok(Command::Help(CHAOS_HELP)),
            flag if flag.starts_with('-') => {
                let known = "--latency, --error-rate, --status, --reset-rate, --down, --truncate, --bandwidth";
                return Err(unknown(flag, &format!("{known}, --for and --port")));
            }
            name if services.is_none() => services = Some(Services::named(name)?),
            other => return Err(format!("{other:?} is one service too many: break one after the other")),
        }
    }
    let harmless = harm == Harm::default();
    let action = match services {
        _ if heal && !harmless => return Err("it heals or it breaks: heal goes without flags".to_owned()),
        services if heal => Action::Heal(services.unwrap_or_else(Services::all)),
        None if harmless => Action::Show,
        None => return Err("which service? chaos users --latency 800ms, for instance".to_owned()),
        Some(services) => {
            harm.faults()?;
            Action::Harm(services, harm)
        }
    };
    Ok(Command::Chaos(action, ports))
}

fn purge(words: &mut Words) -> Result<Command, String> {
    let (mut ports, mut tag, mut tenant) = (Ports::USUAL, None, None);
    while let Some(word) = words.next()? {
        match &*word {
            "--tenant" => tenant = Some(words.value()?),
            "--port" => ports = words.ports()?,
            "--help" | "-h" => return Ok(Command::Help(PURGE_HELP)),
            name if tag.is_none() && !name.starts_with('-') => tag = Some(word),
            _ => return Err(unknown(&word, "one tag, --tenant and --port")),
        }
    }
    let tag = tag.ok_or("which tag? purge user-u1, for instance")?;
    Ok(Command::Purge(Wanted { tag, tenant }, ports))
}

fn tour(words: &mut Words) -> Result<Command, String> {
    let mut ports = TOUR;
    while let Some(word) = words.next()? {
        match &*word {
            "--port" => ports = words.ports()?,
            "--help" | "-h" => return Ok(Command::Help(TOUR_HELP)),
            _ => return Err(unknown(&word, "--port and --help")),
        }
    }
    Ok(Command::Tour(ports))
}

fn unknown(word: &str, known: &str) -> String {
    match word.starts_with('-') {
        true => format!("there is no flag {word:?} here: there are {known}"),
        false => format!("{word:?} has no meaning here: there are {known}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        super::parse(line.split_whitespace().map(str::to_owned))
    }

    fn plan(line: &str) -> Plan {
        match parse(line) {
            Ok(Command::Load(plan)) => plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_command_it_runs() {
        assert_eq!(parse(""), Ok(Command::Run(Ports::USUAL)));
        assert_eq!(parse("--port 9000"), Ok(Command::Run(Ports::from(9000))));
        assert_eq!(parse("--port=9000"), Ok(Command::Run(Ports::from(9000))));
        assert_eq!(parse("--help"), Ok(Command::Help(HELP)));
    }

    #[test]
    fn a_load_is_what_its_flags_say() {
        let usual = plan("load");
        assert_eq!((usual.rate, usual.time, usual.in_flight), (200, Duration::from_secs(20), 256));
        assert_eq!(usual.target.addr(), Ports::USUAL.bff());
        let said =
            plan("load --rate 50 --for 1.5s --path /users/u1 --path /livez --tenant globex --in-flight=8 --port 9000");
        assert_eq!((said.rate, said.time, said.in_flight), (50, Duration::from_millis(1500), 8));
        assert_eq!(
            said.target,
            Target::new(Ports::from(9000).bff(), &["/users/u1".to_owned(), "/livez".to_owned()], "globex").unwrap()
        );
        assert_eq!(plan("load --to [::1]:3000").target.addr(), "[::1]:3000".parse().unwrap());
    }

    #[test]
    fn chaos_breaks_heals_and_tells() {
        let one = |name| Services::named(name).unwrap();
        let harm = Harm {
            latency_ms: Some(800),
            error_rate: Some(0.7),
            status: Some(503),
            for_ms: Some(15_000),
            ..Harm::default()
        };
        assert_eq!(
            parse("chaos users --latency 800ms --error-rate 0.7 --status 503 --for 15s"),
            Ok(Command::Chaos(Action::Harm(one("users"), harm), Ports::USUAL))
        );
        let down = Harm { reset_rate: Some(1.), ..Harm::default() };
        assert_eq!(
            parse("chaos --port 9000 orders --down"),
            Ok(Command::Chaos(Action::Harm(one("orders"), down), Ports::from(9000)))
        );
        let between = Harm { latency_ms: Some(200), latency_max_ms: Some(1000), ..Harm::default() };
        assert_eq!(
            parse("chaos users --latency 200ms..1s"),
            Ok(Command::Chaos(Action::Harm(one("users"), between), Ports::USUAL))
        );
        assert_eq!(parse("chaos"), Ok(Command::Chaos(Action::Show, Ports::USUAL)));
        assert_eq!(parse("chaos heal"), Ok(Command::Chaos(Action::Heal(Services::all()), Ports::USUAL)));
        assert_eq!(parse("chaos users heal"), Ok(Command::Chaos(Action::Heal(one("users")), Ports::USUAL)));
    }

    #[test]
    fn a_purge_has_a_tag_and_may_have_a_tenant() {
        let wanted = |tenant: Option<&str>| Wanted { tag: "user-u1".to_owned(), tenant: tenant.map(str::to_owned) };
        assert_eq!(parse("purge user-u1"), Ok(Command::Purge(wanted(None), Ports::USUAL)));
        let of_one = parse("purge --tenant acme user-u1 --port 9000");
        assert_eq!(of_one, Ok(Command::Purge(wanted(Some("acme")), Ports::from(9000))));
    }

    #[test]
    fn nonsense_is_named_with_what_would_do() {
        for (line, says) in [
            (
                "--prot 1",
                "there is no flag \"--prot\" here: there are --port and --help; load, chaos, purge and tour go first",
            ),
            ("--port", "--port needs a value"),
            ("--port x", "--port takes a number from 1 to 65520, not \"x\""),
            ("--port 0", "--port takes a number from 1 to 65520, not \"0\""),
            ("--port 65521", "--port takes a number from 1 to 65520, not \"65521\""),
            ("laod", "there is no command \"laod\": there are load, chaos, purge and tour"),
            ("load --rate 0", "--rate takes a number from 1 to 5000, not \"0\""),
            ("load --rate --for 2s", "--rate needs a value"),
            ("load --for 20", "--for takes a time such as 800ms, 15s or 2m, of 600s at most, not \"20\""),
            ("load --for 11m", "of 600s at most"),
            ("load --for -1s", "--for takes a time"),
            ("load --for NaNs", "--for takes a time"),
            ("load --for 0s", "--for takes a time"),
            ("load --to example.com:80", "an address of this machine"),
            ("load --to 192.0.2.1:80", "it loads this machine alone, and 192.0.2.1 is another: try 127.0.0.1"),
            ("load --path users", "a path begins with /"),
            ("load --path /users/u{1}", "what stands in braces is a range, once, as in u{1-999}"),
            ("load users", "\"users\" has no meaning here"),
            ("chaos user --latency 1s", "there is no service \"user\": there are users, orders-a, orders-b"),
            ("chaos users", "nothing would go wrong"),
            ("chaos --latency 1s", "which service?"),
            ("chaos users orders --latency 1s", "\"orders\" is one service too many"),
            ("chaos heal --latency 1s", "it heals or it breaks"),
            ("chaos users --error-rate 7", "--error-rate takes a number from 0 to 1, not \"7\""),
            ("chaos users --error-rate NaN", "--error-rate takes a number from 0 to 1"),
            ("chaos users --latency 800", "--latency takes a time such as 800ms"),
            ("chaos users --latency 2s..1s", "the shorter one goes first"),
            ("chaos users --down=1 --for 1s", "--down takes no value"),
            ("purge", "which tag? purge user-u1, for instance"),
            ("purge user-u1 user-u2", "\"user-u2\" has no meaning here: there are one tag, --tenant and --port"),
            ("purge user-u1 --tag", "there is no flag \"--tag\" here"),
            ("tour --fast", "there is no flag \"--fast\" here"),
        ] {
            let mistake = parse(line).expect_err(line);
            assert!(mistake.contains(says), "{line}: {mistake}");
        }
    }

    #[test]
    fn each_command_has_its_help() {
        for (line, flag) in [
            ("help", "tour"),
            ("load -h", "--in-flight N"),
            ("chaos --help", "--truncate"),
            ("purge -h", "/purge"),
            ("tour -h", "18080"),
        ] {
            let Ok(Command::Help(help)) = parse(line) else { panic!("{line}") };
            assert!(help.contains(flag), "{help}");
        }
    }
}
