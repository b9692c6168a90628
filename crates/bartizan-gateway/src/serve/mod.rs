//! Serving an application over HTTP/1.1 and HTTP/2.

mod connection;
mod heads;
mod interim;
mod seldom;
mod server;
mod socket;

pub use self::{
    interim::Interim,
    server::{BindError, Drained, Serve, bind, serve, shutdown_signal},
};
