//! One service behind another's name: the request goes on, the answer streams back.

mod fields;
mod front;
mod how;
mod instead;
mod service;
mod target;
mod tunnel;
mod watch;

pub use self::{
    fields::Forwarding,
    front::{Front, FrontLayer},
    service::Proxy,
    target::ProxyError,
    watch::UpstreamWatch,
};
