//! One service behind another's name: the request goes on, the answer streams back.

mod fields;
mod service;
mod tunnel;

pub use self::{
    fields::Forwarding,
    service::{Proxy, ProxyError, UpstreamWatch},
};
