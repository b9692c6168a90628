//! A line as one `tracing` event, and the span that a request runs in.

use super::{
    format::{micros, push_address},
    level::Level,
    line::{Line, Names, known, push_flags},
    log::with_buffer,
};
use crate::shared::{RequestId, is_deceptive, is_plain};
use http::Request;
use std::borrow::Cow;
use tracing::{Span, field::Empty};

/// The target of every event, for filters: `bartizan::access=warn`.
const TARGET: &str = "bartizan::access";

/// `tracing` fixes the level of an event where it is written, so there is one such place per level.
macro_rules! at_level {
    ($level:expr, $macro:ident ! ($($rest:tt)*)) => {
        match $level {
            Level::Error => tracing::$macro!(target: TARGET, tracing::Level::ERROR $($rest)*),
            Level::Warn => tracing::$macro!(target: TARGET, tracing::Level::WARN $($rest)*),
            Level::Info => tracing::$macro!(target: TARGET, tracing::Level::INFO $($rest)*),
            Level::Debug => tracing::$macro!(target: TARGET, tracing::Level::DEBUG $($rest)*),
            Level::Trace => tracing::$macro!(target: TARGET, tracing::Level::TRACE $($rest)*),
        }
    };
}

/// It fixes the names too. A field that is `None` is not recorded.
macro_rules! emit {
    ($line:ident, $id:ident, $client:ident, $agent:ident, $flags:ident,
     $request_id:literal $tenant_id:literal $user_id:literal
     $client_address:literal $bytes_in:literal $bytes_out:literal $duration:literal $first_byte:literal
     $user_agent:literal $error_type:literal) => {
        at_level!($line.level, event!(,
            "service" = $line.service,
            $request_id = $id,
            $tenant_id = $line.tenant.map(harmless).as_deref(),
            $user_id = $line.user.map(harmless).as_deref(),
            $client_address = $client,
            "method" = $line.record.method.as_str(),
            "route" = $line.route.map(harmless).as_deref(),
            "path" = &*harmless(&$line.record.path),
            "query" = known(&$line.record.query).map(harmless).as_deref(),
            "protocol" = $line.protocol(),
            "status" = $line.status(),
            $bytes_in = $line.record.bytes_in,
            $bytes_out = $line.record.bytes_out,
            $duration = millis($line.duration),
            $first_byte = $line.record.head_after.map(millis),
            $user_agent = $agent.map(harmless).as_deref(),
            "flags" = $flags,
            $error_type = $line.error_type.map(harmless).as_deref(),
        ))
    };
}

/// Whether an event of this level would reach anybody.
pub(super) fn is_enabled(level: Level) -> bool {
    at_level!(level, event_enabled!())
}

pub(super) fn emit(line: &Line<'_>, names: Names) {
    with_buffer(|buffer| emit_with(line, names, buffer));
}

fn emit_with(line: &Line<'_>, names: Names, buffer: &mut Vec<u8>) {
    // An address as text from here: what a subscriber formats itself takes it several times as long.
    if let Some(client) = line.record.client {
        push_address(buffer, client);
    }
    let client = known(text(buffer));
    let mut flags = String::new();
    push_flags(line.flags, |piece| flags.push_str(piece));
    let flags = known(&flags);
    let request_id = known(text(&line.record.request_id));
    let user_agent = known(text(&line.record.user_agent));
    match names {
        Names::Snake => emit!(line, request_id, client, user_agent, flags,
            "request_id" "tenant_id" "user_id" "client.address"
            "bytes_in" "bytes_out" "duration_ms" "ttfb_ms" "user_agent" "error.type"),
        Names::Camel => emit!(line, request_id, client, user_agent, flags,
            "requestId" "tenantId" "userId" "clientAddress"
            "bytesIn" "bytesOut" "durationMs" "ttfbMs" "userAgent" "errorType"),
    }
}

/// All text of a record is UTF-8.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Text as any subscriber may print it: one that writes JSON escapes no more than RFC 8259 asks for. What could fool a
/// terminal or a reader stands as `\u{202e}`; quotes and backslashes are left to the subscriber.
fn harmless(text: &str) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) || !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_deceptive(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The span of a request. Those who learn more about it record it: `tenant_id`, `user_id`.
pub(super) fn span<B>(request: &Request<B>) -> Span {
    let request_id = RequestId::of(request.extensions()).map(RequestId::as_str);
    let method = request.method().as_str();
    tracing::info_span!(target: TARGET, "request", request_id, tenant_id = Empty, user_id = Empty, method)
}

/// Milliseconds with three decimals, like those of the other formats.
#[allow(clippy::cast_precision_loss, reason = "exact for the next 285 years")]
fn millis(time: std::time::Duration) -> f64 {
    micros(time) as f64 / 1000.0
}
