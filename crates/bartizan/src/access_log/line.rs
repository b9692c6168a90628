//! One line of the log, before it has a form.

use super::{
    level::{Class, Level},
    log::Log,
    record::Record,
};
use crate::shared::{Flag, Noted, Refusal};
use http::StatusCode;
use std::{net::IpAddr, time::Duration};
use tokio::time::Instant;

/// One line of the log: everything decided, nothing escaped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) record: &'a Record,
    pub(super) class: Class,
    pub(super) level: Level,
    pub(super) ended_at: Instant,
    pub(super) service: Option<&'a str>,
    pub(super) tenant: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    pub(super) route: Option<&'a str>,
    pub(super) duration: Duration,
    pub(super) flags: u16,
    pub(super) error_type: Option<&'a str>,
}

/// How a request ended, as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    ClientGone,
    Failed,
    Panicked,
}

/// The value of a field, and with it what a format has to do about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Anything, from anywhere.
    Text(&'a [u8]),
    /// Printable ASCII without quotes and backslashes, by its own grammar.
    Plain(&'a [u8]),
    Number(u64),
    Millis(Duration),
    Address(IpAddr),
    Flags(u16),
}

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $snake:literal | $camel:literal,)*) => {
        /// The fields of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field {
            $($field,)*
        }

        impl Field {
            /// Its name as a key of JSON, with the comma before it: `,"method":`
            #[inline(always)]
            pub(super) const fn json_key(self, camel: bool) -> &'static str {
                match (self, camel) {
                    $((Self::$field, false) => concat!(",\"", $snake, "\":"),
                      (Self::$field, true) => concat!(",\"", $camel, "\":"),)*
                }
            }

            /// The same before a string, with the quote that opens it: `,"method":"`
            #[inline(always)]
            pub(super) const fn json_text_key(self, camel: bool) -> &'static str {
                match (self, camel) {
                    $((Self::$field, false) => concat!(",\"", $snake, "\":\""),
                      (Self::$field, true) => concat!(",\"", $camel, "\":\""),)*
                }
            }

            /// Its name as a key of text, with the space before it: ` method=`
            pub(super) const fn text_key(self, camel: bool) -> &'static str {
                match (self, camel) {
                    $((Self::$field, false) => concat!(" ", $snake, "="),
                      (Self::$field, true) => concat!(" ", $camel, "="),)*
                }
            }
        }
    };
}

/// How the fields of a line are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Names {
    /// `request_id`, `duration_ms`; and `client.address`, `error.type` as OpenTelemetry names them.
    Snake,
    /// `requestId`, `durationMs`, `clientAddress`, `errorType`.
    Camel,
}

fields! {
    Level = "level" | "level",
    Service = "service" | "service",
    RequestId = "request_id" | "requestId",
    Tenant = "tenant_id" | "tenantId",
    User = "user_id" | "userId",
    Client = "client.address" | "clientAddress",
    Method = "method" | "method",
    Route = "route" | "route",
    Path = "path" | "path",
    Query = "query" | "query",
    Protocol = "protocol" | "protocol",
    Status = "status" | "status",
    BytesIn = "bytes_in" | "bytesIn",
    BytesOut = "bytes_out" | "bytesOut",
    Duration = "duration_ms" | "durationMs",
    FirstByte = "ttfb_ms" | "ttfbMs",
    UserAgent = "user_agent" | "userAgent",
    Referer = "referer" | "referer",
    Flags = "flags" | "flags",
    ErrorType = "error.type" | "errorType",
}

// ===== impl Line =====

impl<'a> Line<'a> {
    pub(super) fn of(log: &'a Log, record: &'a Record, noted: &'a Noted, ended: Ended, ended_at: Instant) -> Self {
        let route = noted.route.as_deref().or(known(&record.route));
        let flags = flags(record, noted, ended, log.route.is_some() && route.is_none());
        let class = class(record.status, ended);
        Self {
            record,
            class,
            level: log.levels.of(class),
            ended_at,
            service: log.service.as_deref(),
            tenant: noted.tenant.as_deref(),
            user: noted.user.as_deref().or(known(&record.user)),
            route,
            duration: ended_at.duration_since(record.started),
            flags,
            error_type: error_type(record, noted, ended),
        }
    }

    /// Whether something about this request is out of the ordinary, so that no sample leaves it out.
    pub(super) fn is_remarkable(&self) -> bool {
        self.class != Class::Success || self.flags != 0 || self.error_type.is_some()
    }

    pub(super) fn status(&self) -> u16 {
        self.record.status.map_or(0, |status| status.as_u16())
    }

    pub(super) fn protocol(&self) -> &'static str {
        match self.record.version {
            http::Version::HTTP_09 => "HTTP/0.9",
            http::Version::HTTP_10 => "HTTP/1.0",
            http::Version::HTTP_11 => "HTTP/1.1",
            http::Version::HTTP_2 => "HTTP/2",
            http::Version::HTTP_3 => "HTTP/3",
            _ => "HTTP",
        }
    }

    /// Tells each field that is known, in the order in which a line has them.
    #[inline(always)]
    pub(super) fn each(&self, mut tell: impl FnMut(Field, Value<'a>)) {
        let record = self.record;
        tell(Field::Level, Value::Plain(self.level.as_str().as_bytes()));
        if let Some(service) = self.service {
            tell(Field::Service, Value::Text(service.as_bytes()));
        }
        if !record.request_id.is_empty() {
            tell(Field::RequestId, Value::Plain(&record.request_id));
        }
        if let Some(tenant) = self.tenant {
            tell(Field::Tenant, Value::Text(tenant.as_bytes()));
        }
        if let Some(user) = self.user {
            tell(Field::User, Value::Text(user.as_bytes()));
        }
        if let Some(client) = record.client {
            tell(Field::Client, Value::Address(client));
        }
        tell(Field::Method, Value::Plain(record.method.as_str().as_bytes()));
        if let Some(route) = self.route {
            tell(Field::Route, Value::Text(route.as_bytes()));
        }
        tell(Field::Path, Value::Text(record.path.as_bytes()));
        if let Some(query) = known(&record.query) {
            tell(Field::Query, Value::Text(query.as_bytes()));
        }
        tell(Field::Protocol, Value::Plain(self.protocol().as_bytes()));
        tell(Field::Status, Value::Number(self.status().into()));
        if let Some(bytes) = record.bytes_in {
            tell(Field::BytesIn, Value::Number(bytes));
        }
        tell(Field::BytesOut, Value::Number(record.bytes_out));
        tell(Field::Duration, Value::Millis(self.duration));
        if let Some(time) = record.head_after {
            tell(Field::FirstByte, Value::Millis(time));
        }
        if !record.user_agent.is_empty() {
            tell(Field::UserAgent, Value::Text(&record.user_agent));
        }
        if let Some(referer) = known(&record.referer) {
            tell(Field::Referer, Value::Text(referer.as_bytes()));
        }
        if self.flags != 0 {
            tell(Field::Flags, Value::Flags(self.flags));
        }
        if let Some(error_type) = self.error_type {
            tell(Field::ErrorType, Value::Text(error_type.as_bytes()));
        }
    }
}

pub(super) fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Tells flags as a log names them, piece by piece: `RL,DC`.
pub(super) fn push_flags(flags: u16, mut tell: impl FnMut(&str)) {
    let mut between = "";
    for flag in Flag::ALL.into_iter().filter(|&flag| flags & flag as u16 != 0) {
        tell(between);
        tell(flag.as_str());
        between = ",";
    }
}

fn class(status: Option<StatusCode>, ended: Ended) -> Class {
    match (ended, status.map(|status| status.as_u16())) {
        (Ended::Failed | Ended::Panicked, _) | (_, Some(500..)) => Class::ServerError,
        (Ended::ClientGone, _) | (_, Some(400..)) => Class::ClientError,
        (Ended::Complete, _) => Class::Success,
    }
}

fn flags(record: &Record, noted: &Noted, ended: Ended, route_is_missing: bool) -> u16 {
    let mut flags = noted.flags;
    let mut set = |flag: Flag, on: bool| flags |= if on { flag as u16 } else { 0 };
    set(Flag::ClientGone, ended == Ended::ClientGone);
    let is_refused_as = |error_type| record.refusal.is_some_and(|refusal| refusal.error_type() == error_type);
    set(Flag::RateLimited, is_refused_as("rate_limited"));
    set(Flag::DeadlinePassed, is_refused_as("deadline"));
    set(Flag::NoRoute, route_is_missing && record.status == Some(StatusCode::NOT_FOUND));
    flags
}

/// What was noted, else why a layer refused, else how it broke, else the status of a server's error. A client that went
/// away is no error.
fn error_type<'a>(record: &'a Record, noted: &Noted, ended: Ended) -> Option<&'a str> {
    let known = noted.error_type.or(record.refusal.map(Refusal::error_type));
    known.or(match (ended, &record.status) {
        (Ended::Panicked, _) => Some("panic"),
        (Ended::Failed, None) => Some("_OTHER"),
        (Ended::Failed, Some(_)) => Some("body"),
        (_, Some(status)) if status.as_u16() >= 500 => Some(status.as_str()),
        _ => None,
    })
}
