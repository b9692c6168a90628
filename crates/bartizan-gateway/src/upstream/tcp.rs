//! Connections, before anything is said on them.

use super::connection::CONNECT;
use hyper_util::client::legacy::connect::HttpConnector;

pub(crate) fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector
}
