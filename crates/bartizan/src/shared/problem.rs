//! Problem details for HTTP APIs (RFC 9457): what every refusal says.

use super::{Context, Said, accepts_json, write_json_str};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use std::{borrow::Cow, fmt::Write, mem};

/// A problem document (RFC 9457).
///
/// ```
/// use bartizan::Problem;
/// use http::StatusCode;
///
/// let problem = Problem::new(StatusCode::NOT_FOUND).detail("no order has this number").member("code", "no_order");
/// assert_eq!(
///     problem.to_json(),
///     r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no order has this number","code":"no_order"}"#,
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    type_uri: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Cow<'static, str>,
    instance: Option<String>,
    /// The extension members as JSON, each with its comma in front.
    members: String,
}

/// A problem that is rendered once and sent often; only the request id is filled in each time.
#[derive(Clone, Debug)]
pub(crate) struct PreparedProblem {
    status: StatusCode,
    json: Said,
    text: Said,
}

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What an extension member of a [`Problem`] can hold.
pub trait Member {
    /// Appends the value as JSON.
    fn write_json(&self, out: &mut String);
}

// ===== impl Problem =====

impl Problem {
    /// The problem that says no more than its status: `type` is `about:blank`, `title` the reason phrase (RFC 9457 §4.2.1).
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            type_uri: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(status.canonical_reason().unwrap_or("Unknown status")),
            detail: Cow::Borrowed(""),
            instance: None,
            members: String::new(),
        }
    }

    /// The URI that names this kind of problem, and its title.
    #[must_use]
    pub fn kind(mut self, type_uri: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        self.type_uri = type_uri.into();
        self.title = title.into();
        self
    }

    /// What went wrong this time, for a person, and what to do about it. Nothing internal.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The URI of this occurrence. The layers set `urn:request:<id>` where a request id is known.
    #[must_use]
    pub fn instance(mut self, uri: impl Into<String>) -> Self {
        self.instance = Some(uri.into());
        self
    }

    /// An extension member (RFC 9457 §3.2).
    #[must_use]
    pub fn member(mut self, name: &str, value: &(impl Member + ?Sized)) -> Self {
        self.members.push(',');
        write_json_str(&mut self.members, name);
        self.members.push(':');
        value.write_json(&mut self.members);
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let fixed = r#"{"type":"","title":"","status":000,"detail":"","instance":""}"#.len();
        let mut out = String::with_capacity(
            fixed
                + self.type_uri.len()
                + self.title.len()
                + self.detail.len()
                + self.instance.as_ref().map_or(0, String::len)
                + self.members.len(),
        );
        out.push_str(r#"{"type":"#);
        write_json_str(&mut out, &self.type_uri);
        out.push_str(r#","title":"#);
        write_json_str(&mut out, &self.title);
        out.push_str(r#","status":"#);
        out.push_str(self.status.as_str());
        if !self.detail.is_empty() {
            out.push_str(r#","detail":"#);
            write_json_str(&mut out, &self.detail);
        }
        if let Some(instance) = &self.instance {
            out.push_str(r#","instance":"#);
            write_json_str(&mut out, instance);
        }
        out.push_str(&self.members);
        out.push('}');
        out
    }

    /// The response: `application/problem+json`, or plain text for a client whose `Accept` rules JSON out.
    #[must_use]
    pub fn to_response(&self, request_headers: &HeaderMap) -> Response<Bytes> {
        let (content_type, body) =
            if accepts_json(request_headers) { (PROBLEM_JSON, self.to_json()) } else { (PLAIN_TEXT, self.to_text()) };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }

    fn to_text(&self) -> String {
        let mut out = self.title.to_string();
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out.push('\n');
        out
    }
}

// ===== impl PreparedProblem =====

impl PreparedProblem {
    /// Becomes the answer to the request whose [fields and extensions](answer_to) are in `response`.
    pub(crate) fn answer<T: From<Said>>(&self, response: &mut Response<T>) {
        let content = self.content(response.headers(), Context::of(response.extensions()));
        self.fill(response, content);
    }

    /// The type and the text for the request with this head. `instance` becomes `urn:request:<id>` where the id is known.
    #[inline]
    pub(crate) fn content(&self, headers: &HeaderMap, context: Option<&Context>) -> (HeaderValue, Said) {
        if !accepts_json(headers) {
            return (PLAIN_TEXT, self.text.clone());
        }
        let Some(id) = context.and_then(|context| context.id.as_ref()) else {
            return (PROBLEM_JSON, self.json.clone());
        };
        // The alphabet of ids needs no escape.
        let open = &self.json[..self.json.len() - 1];
        let parts = [open, br#","instance":"urn:request:"#, id.as_str().as_bytes(), br#""}"#];
        (PROBLEM_JSON, Bytes::from(parts.concat()).into())
    }

    /// Nothing of what was in `response` stays.
    #[inline]
    pub(crate) fn fill<T: From<Said>>(&self, response: &mut Response<T>, (content_type, said): (HeaderValue, Said)) {
        response.extensions_mut().clear();
        *response.body_mut() = said.into();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.clear();
        headers.insert(header::CONTENT_TYPE, content_type);
    }
}

/// An answer that still has the fields and extensions of its request, to be read and then replaced.
///
/// The request is over, so its maps serve once more: a refusal should cost little. Boxed, as it has a way to go.
pub(crate) fn answer_to<B, T: Default>(request: &mut Request<B>) -> Box<Response<T>> {
    let mut response = Box::<Response<T>>::default();
    mem::swap(response.headers_mut(), request.headers_mut());
    mem::swap(response.extensions_mut(), request.extensions_mut());
    response
}

impl From<Problem> for PreparedProblem {
    fn from(problem: Problem) -> Self {
        let said = |text: String| Bytes::from(text).into();
        Self { status: problem.status, json: said(problem.to_json()), text: said(problem.to_text()) }
    }
}

// ===== impl Member =====

impl Member for str {
    fn write_json(&self, out: &mut String) {
        write_json_str(out, self);
    }
}

impl Member for &str {
    fn write_json(&self, out: &mut String) {
        write_json_str(out, self);
    }
}

impl Member for String {
    fn write_json(&self, out: &mut String) {
        write_json_str(out, self);
    }
}

impl Member for u64 {
    fn write_json(&self, out: &mut String) {
        let _ = write!(out, "{self}"); // a `String` takes every write
    }
}

impl Member for bool {
    fn write_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl<M: Member> Member for [M] {
    fn write_json(&self, out: &mut String) {
        out.push('[');
        for (index, member) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            member.write_json(out);
        }
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_all_its_members_and_is_json() {
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS)
            .kind("https://example.org/p", "Too \"many\"")
            .detail("wait 3 s")
            .instance("urn:request:1")
            .member("violated-policies", ["a", "b\n"].as_slice())
            .member("retry_after", &3)
            .member("final", &true);
        let json: serde_json::Value = serde_json::from_str(&problem.to_json()).expect("valid JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "type": "https://example.org/p", "title": "Too \"many\"", "status": 429, "detail": "wait 3 s",
                "instance": "urn:request:1", "violated-policies": ["a", "b\n"], "retry_after": 3, "final": true,
            })
        );
    }

    #[test]
    fn a_client_that_takes_no_json_gets_text() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
        let response = Problem::new(StatusCode::FORBIDDEN).detail("no").to_response(&headers);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.body(), "Forbidden: no\n");
    }
}
