//! What a layer does not have to change, it does not change. It may add header fields and extensions of its own.

use crate::testing::{
    Lawful, Subject,
    body::{Came, ProbeBody, Step},
    drive::{call, on_paused_time},
    probe::{Answer, Hints, Mark, Probe, ProbeError, Script},
    subject::Law,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

/// Method, URI, version, header fields, extensions, and the body with its trailers reach the inner service.
pub fn the_request_reaches_the_service_untouched<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("the request reaches the service untouched");
    let steps = [Step::Data("hel"), Step::Pause, Step::Data("lo"), Step::Trailers(fields("x-probe-trailer"))];
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let probe = Probe::new(Script::default());
        let body = ProbeBody::new(steps.clone()).slack(7);
        let at_first = Hints::of(&body);
        let mut request = subject.request_with(body);
        *request.version_mut() = version;
        request.headers_mut().extend(fields("x-probe-field"));
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers().clone();
        let answer = on_paused_time(async { call(&mut subject.layer.layer(probe.clone()), request).await.map(|_| ()) });
        law.same("the answer", &answer, &Ok(()));

        let seen = probe.seen();
        law.holds(seen.len() == 1, format_args!("the service saw {} requests", seen.len()));
        for seen in seen {
            law.same("the method", &seen.method, &method);
            law.same("the URI", &seen.uri, &uri);
            law.same("the version", &seen.version, &version);
            has_all_fields(&law, &seen.headers, &headers);
            law.same("the extension", &seen.mark, &Some(Mark(1)));
            law.same("what the body says of itself", &seen.at_first, &at_first);
            law.same("the body", &seen.came, &frames(&steps));
        }
    }
}

/// Status, version, header fields and extensions of the response come out as the inner service set them.
pub fn the_response_head_passes_untouched<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("the response's head passes untouched");
    let heads = [
        (StatusCode::OK, Version::HTTP_11),
        (StatusCode::OK, Version::HTTP_2),
        (StatusCode::NO_CONTENT, Version::HTTP_10),
        (StatusCode::NOT_MODIFIED, Version::HTTP_11),
        (StatusCode::NOT_FOUND, Version::HTTP_11),
        (StatusCode::INTERNAL_SERVER_ERROR, Version::HTTP_2),
        (StatusCode::from_u16(599).expect("a valid status"), Version::HTTP_11),
    ];
    for (status, version) in heads {
        let mut headers = fields("x-probe-field");
        headers.insert(http::header::ETAG, HeaderValue::from_static("\"probe\""));
        headers.append(http::header::SET_COOKIE, HeaderValue::from_static("a=1"));
        headers.append(http::header::SET_COOKIE, HeaderValue::from_static("b=2"));
        let answer = Answer { status, version, headers: headers.clone(), ..Answer::default() };
        let probe = Probe::new(Script { answer: Ok(answer), ..Script::default() });
        let out = on_paused_time(async { call(&mut subject.layer.layer(probe), subject.plain_request()).await });
        law.holds(out.is_ok(), "a request failed");
        let Ok(out) = out else { continue };
        law.same("the status", &out.status(), &status);
        law.same("the version", &out.version(), &version);
        has_all_fields(&law, out.headers(), &headers);
        law.same("the extension", &out.extensions().get().copied(), &Some(Mark(2)));
    }
}

/// Data frames, trailers, errors, `size_hint` and `is_end_stream` of the response's body come out as they went in, at
/// every step.
pub fn the_body_passes_untouched<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("the response's body passes untouched");
    let bodies = [
        (vec![], 0),
        (vec![Step::Data("hello")], 0),
        (vec![Step::Data("hel"), Step::Pause, Step::Data(""), Step::Data("lo")], 9),
        (vec![Step::Data("hello"), Step::Trailers(fields("x-probe-trailer"))], 9),
        (vec![Step::Trailers(fields("x-probe-trailer"))], 0),
        (vec![Step::Data("hel"), Step::Pause, Step::Fail(ProbeError(9))], 9),
    ];
    for (steps, slack) in bodies {
        let answer = Answer { steps: steps.clone(), slack, ..Answer::default() };
        let mut inside = Box::pin(answer.body());
        let probe = Probe::new(Script { answer: Ok(answer), ..Script::default() });
        on_paused_time(async {
            let out = call(&mut subject.layer.layer(probe), subject.plain_request()).await;
            law.holds(out.is_ok(), "a request failed");
            let Ok(out) = out else { return };
            let mut outside = Box::pin(out.into_body());
            for _ in 0..=steps.len() {
                law.same("what the body says of itself", &Hints::of(&*outside), &Hints::of(&*inside));
                let (came, went) = (Came::out_of(&mut outside).await, Came::out_of(&mut inside).await);
                law.same("a frame", &came, &went);
                if matches!(went, Came::End | Came::Failed(_)) {
                    break;
                }
            }
        });
    }
}

/// An error of the inner service comes out as the same value.
pub fn an_inner_error_comes_out_as_it_went_in<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("an inner error comes out as it went in");
    let probe = Probe::new(Script { answer: Err(ProbeError(7)), pauses: 1, ..Script::default() });
    let mut service = subject.layer.layer(probe);
    let out = on_paused_time(async { call(&mut service, subject.plain_request()).await.map(|_| ()) });
    law.same("the error", &out, &Err(ProbeError(7)));
}

/// Two lines of one name, and a value that is no text.
fn fields(name: &'static str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.append(HeaderName::from_static(name), HeaderValue::from_static("one"));
    fields.append(HeaderName::from_static(name), HeaderValue::from_static("two, three"));
    fields.append(HeaderName::from_static("x-probe-raw"), HeaderValue::from_static("plain"));
    fields.append(
        HeaderName::from_static("x-probe-raw"),
        HeaderValue::from_bytes(b"\xff\xfe").expect("bytes above ASCII are allowed in a field"),
    );
    fields
}

fn frames(steps: &[Step]) -> Vec<Came> {
    let came = steps.iter().filter_map(|step| match step {
        Step::Data(data) => Some(Came::Data(bytes::Bytes::from_static(data.as_bytes()))),
        Step::Trailers(trailers) => Some(Came::Trailers(trailers.clone())),
        Step::Fail(error) => Some(Came::Failed(error.to_string())),
        Step::Pause | Step::Wait(_) => None,
    });
    came.chain([Came::End]).collect()
}

fn has_all_fields(law: &Law, out: &HeaderMap, inside: &HeaderMap) {
    for name in inside.keys() {
        let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        law.same(name.as_str(), &values(out), &values(inside));
    }
}
