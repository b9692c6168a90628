//! One line per request, written when the last byte of its response has left.
//!
//! The client sees nothing of it. You see, for each request: `ts`, `level`, `service`, `request_id`, `tenant_id`,
//! `user_id`, `client.address`, `method`, `route`, `path`, `query`, `protocol`, `status`, `bytes_in`, `bytes_out`,
//! `duration_ms`, `ttfb_ms`, `user_agent`, `flags` and `error.type`. What is not known is not there.
//!
//! A line is written once the response's body has ended, or has broken, or when the client has gone: then it carries
//! the flag `DC`, with the status that was sent, or 0 if none was. `bytes_out` and `duration_ms` so count what was sent
//! and not what was meant to be sent. `ttfb_ms` is the time until the head of the response was there. `bytes_in` is what
//! the request's `Content-Length` announced; a chunked request has none.
//!
//! | level | by default |
//! |---|---|
//! | `INFO` | a status below 400 |
//! | `WARN` | a status from 400 to 499, and clients that went away |
//! | `ERROR` | a status of 500 and above, and what broke: the service (status 0), its body, a panic |
//!
//! So the filter `bartizan::access=warn` lets through what somebody may want to look at, and nothing else.
//!
//! The flags are those of [`Flag`](crate::Flag). `error.type` is what a layer or a handler has noted, else why a layer
//! refused, else `body`, `panic` or `_OTHER`, else the status from 500 on. A client that went away is no error.
//!
//! The values of query parameters that let somebody in (`code`, `sig`, `key`, whatever ends with `token`, `secret` or
//! `password`, `X-Amz-…`, …) are written as `REDACTED`; so are those in a referring page's URL, which also loses its user
//! and password. The name is read as a server reads it, so that `%74oken=`, `access-token=` and `user[password]=` hide
//! nothing. A path is written as it came, and so is what stands escaped inside of a value: leave secrets out of both.
//!
//! # Example
//!
//! ```
//! use bartizan::access_log::{AccessLogLayer, Format};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! async fn hello(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let log = AccessLogLayer::new().service("greeter").write_to(std::io::stdout(), Format::Json);
//! let service = ServiceBuilder::new().layer(log).service(service_fn(hello));
//!
//! let response = service.oneshot(Request::new(())).await?;
//! response.into_body().collect().await?; // {"ts":"2026-11-20T12:42:20.123Z","level":"INFO","service":"greeter",…}
//! # Ok(())
//! # }
//! ```
//!
//! Without `write_to`, a line is one `tracing` event with the target `bartizan::access`.
//!
//! # Order
//!
//! Inside the request id, whose id it logs, and outside of everything that may refuse or panic: request id → access log
//! → catch-panic → everything else. Inner layers and handlers tell it what they know through [`Notes`](crate::Notes).
//! If catch-panic stands outside, a panic is logged with status 0 and the flag `DC`, as if the client had gone; if nobody
//! catches it, with the `error.type` `panic`.
//!
//! # What it remembers
//!
//! Each thread keeps up to 64 records of past requests, emptied, to write the next ones into, and one buffer for a line:
//! so a line costs no allocation. It looks at the wall clock once a second and counts `ts` on from there, so a step of
//! that clock shows within a second. When nobody listens to the target and there is no writer, nothing is read, noted or
//! timed.
//!
//! # When the writer fails
//!
//! The line is lost and the request is not. [`Event::Lost`] tells it, and a warning the first time.
//!
//! # Lifting
//!
//! This folder and `shared/`; `tracing`.

mod combined;
mod entry;
mod event;
mod format;
mod json;
mod layer;
mod level;
mod line;
mod log;
mod record;
mod redact;
mod sample;
mod spare;
mod text;

#[cfg(test)]
mod tests;

pub use self::{
    entry::Entry,
    format::Format,
    layer::{AccessLog, AccessLogLayer, Event, ResponseFuture},
    level::{Class, Level},
    line::Names,
};
