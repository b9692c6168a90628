//! Connections as they are when the feature `tls` is off.

use super::{connection::Protocol, tcp::tcp};
use hyper_util::client::legacy::connect::HttpConnector;

pub(super) type Connector = HttpConnector;

/// Whom to trust: nobody has to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust(());

pub(super) const HAS_TLS: bool = false;

pub(super) fn connector(_: &Trust, _: Protocol) -> Connector {
    tcp()
}
