//! Where everything listens: a block of sixteen ports, on this machine alone.

use bartizan_gateway::BindError;
use std::net::{Ipv4Addr, SocketAddr};

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

/// How far the port on which a service's faults are switched lies behind its own.
const TO_ADMIN: u16 = 10;

impl Ports {
    /// The highest port for the BFF: the others come after it.
    pub(crate) const HIGHEST: u16 = u16::MAX - 15;

    /// The BFF on 8080, and the services on 7101 to 7105.
    pub(crate) const USUAL: Self = Self { bff: 8080, first_service: 7101 };

    /// The BFF on `bff`, and all else on the fifteen ports after it.
    pub(crate) const fn from(bff: u16) -> Self {
        assert!(bff <= Self::HIGHEST, "there are ports after it");
        Self { bff, first_service: bff + 1 }
    }

    pub(crate) fn bff(&self) -> SocketAddr {
        loopback(self.bff)
    }

    /// The address of one of [`SERVICES`].
    pub(crate) fn service(&self, name: &str) -> SocketAddr {
        loopback(self.first_service + offset(name))
    }

    /// Where its faults are switched.
    pub(crate) fn admin(&self, name: &str) -> SocketAddr {
        loopback(self.first_service + offset(name) + TO_ADMIN)
    }

    /// The error of a port that can't be had, and what helps: other ports for `command`.
    pub(crate) fn advise(&self, command: &str, error: &BindError) -> String {
        let other = if self.bff < 60_000 { self.bff + 1000 } else { 8080 };
        format!("{error} with: cargo run -p bff -- {command}--port {other}")
    }

    /// The flag that leads to these ports, for lines that are printed to be typed: empty for the usual ones.
    pub(crate) fn flag(&self) -> String {
        if *self == Self::USUAL { String::new() } else { format!(" --port {}", self.bff) }
    }
}

fn offset(name: &str) -> u16 {
    let before = SERVICES.iter().take_while(|(service, _)| *service != name).count();
    u16::try_from(before).expect("there are five services")
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_listen_on_one_port() {
        for ports in [Ports::USUAL, Ports::from(9000), Ports::from(Ports::HIGHEST)] {
            let mut all = BTreeSet::from([ports.bff()]);
            all.extend(SERVICES.iter().flat_map(|(name, _)| [ports.service(name), ports.admin(name)]));
            assert_eq!(all.len(), 11, "{all:?}");
            assert!(all.iter().all(|addr| addr.ip().is_loopback()));
        }
    }

    #[test]
    fn all_of_them_move_with_the_first() {
        let ports = Ports::from(9000);
        assert_eq!(ports.bff().port(), 9000);
        assert_eq!(SERVICES.map(|(name, _)| ports.service(name).port()), [9001, 9002, 9003, 9004, 9005]);
        assert_eq!(SERVICES.map(|(name, _)| ports.admin(name).port()), [9011, 9012, 9013, 9014, 9015]);
    }
}
