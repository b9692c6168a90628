//! `bff chaos`: breaks the services of a running demo on purpose, and heals them.
//!
//! Inside each service, right before its router, stands bartizan's fault layer, so what fails is a real service behind
//! a real socket. Its switch is reached over a port of its own: see [`mod@admin`].

mod admin;
mod harm;
mod remote;

pub(crate) use self::{
    admin::{State, Switch, admin},
    harm::Harm,
    remote::Remote,
};

use crate::{
    ports::{Ports, SERVICES},
    say,
};
use std::{error::Error, fmt::Write, time::Duration};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// To tell how all of them are.
    Show,
    Heal(Services),
    Harm(Services, Harm),
}

/// Some of [`SERVICES`], of which there is one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Services(Vec<&'static str>);

/// Does it, and prints how all services are then.
pub(crate) async fn run(action: Action, ports: &Ports) -> Result<(), Box<dyn Error>> {
    let remote = Remote::new(*ports);
    remote.apply(&action).await?;
    let mut states = Vec::new();
    for (service, _) in SERVICES {
        states.push(remote.state(service).await?);
    }
    say(&table(&states));
    Ok(())
}

fn table(states: &[State]) -> String {
    let mut out = format!("  {:<16}{:>10}{:>10}  {}", "service", "requests", "harmed", "what is wrong with it");
    for State { service, received, harmed, faults } in states {
        // A `String` takes every write.
        let _ = write!(out, "\n  {service:<16}{:>10}{harmed:>10}  ", received.values().sum::<u64>());
        if faults.is_empty() {
            out.push('-');
        }
        for (nth, fault) in faults.iter().enumerate() {
            let _ = write!(out, "{}{}", if nth == 0 { "" } else { "; " }, fault.what);
            if let Some(millis) = fault.heals_in_ms {
                let _ = write!(out, " (for another {:?})", Duration::from_secs(millis.div_ceil(1000)));
            }
        }
    }
    out
}

// ===== impl Services =====

impl Services {
    pub(crate) fn all() -> Self {
        Self(SERVICES.iter().map(|(name, _)| *name).collect())
    }

    fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// The service of this name; `orders` are both its replicas.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let is_meant = |service: &str| {
            service == name || service.strip_prefix(name).is_some_and(|replica| matches!(replica, "-a" | "-b"))
        };
        let named: Vec<_> = SERVICES.iter().map(|(service, _)| *service).filter(|service| is_meant(service)).collect();
        match named.is_empty() {
            false => Ok(Self(named)),
            true => {
                let all = SERVICES.map(|(service, _)| service).join(", ");
                Err(format!("there is no service {name:?}: there are {all}, and orders for both"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_both_replicas_and_a_stranger_is_told_who_is_there() {
        assert_eq!(Services::named("orders").unwrap().0, ["orders-a", "orders-b"]);
        assert_eq!(Services::named("orders-b").unwrap().0, ["orders-b"]);
        for stranger in ["", "order", "orders-c", "Users"] {
            assert!(Services::named(stranger).unwrap_err().contains("recommendations"), "{stranger}");
        }
    }
}
