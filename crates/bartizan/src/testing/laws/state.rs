//! `Layer::layer` only wires: what a layer remembers is born before it.

use crate::testing::{
    Lawful, Subject,
    body::Came,
    drive::{call, on_paused_time},
    probe::{Probe, Script},
    served::{ForAxum, Served, on_sockets},
};
use axum::{Router, routing::any};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Empty;

/// What the layer promises holds over a hundred applications of it, and over clones of it and of its services.
///
/// Without a [promise](Subject::promise) it only checks that every application lets requests through.
pub fn state_is_shared_over_a_hundred_applications<L: Lawful>(subject: &Subject<L>) {
    let law = subject.law("state is shared over a hundred applications");
    let layer = subject.promise.as_ref().map_or(&subject.layer, |promise| &promise.layer);
    let probe = Probe::new(Script::default());
    let answers = on_paused_time(async {
        let mut answers = Vec::new();
        for application in 0..100 {
            let mut service = match application % 2 {
                0 => layer.layer(probe.clone()),
                _ => layer.clone().layer(probe.clone()),
            };
            let mut clone = service.clone();
            for service in [&mut service, &mut clone] {
                let answer = call(service, subject.plain_request()).await;
                law.holds(answer.is_ok(), "a request failed");
                let Ok(answer) = answer else { continue };
                let (head, body) = answer.into_parts();
                let mut whole = Vec::new();
                for came in Came::all_of(body).await {
                    if let Came::Data(data) = came {
                        whole.extend(data);
                    }
                }
                answers.push(Response::from_parts(head, Bytes::from(whole)));
            }
        }
        answers
    });
    match &subject.promise {
        Some(promise) => law.holds_for(promise, &answers),
        None => law.holds(probe.calls() == 200, format_args!("of 200 requests {} came through", probe.calls())),
    }
}

/// What the layer promises holds over everything that an axum router serves: axum applies a layer anew for each route,
/// each method and each connection.
///
/// Without a [promise](Subject::promise) it only checks that requests are answered.
pub fn state_is_shared_over_all_routes_methods_and_connections<L: Lawful + ForAxum>(subject: &Subject<L>) {
    let law = subject.law("state is shared over all routes, methods and connections");
    let layer = subject.promise.as_ref().map_or(&subject.layer, |promise| &promise.layer).clone();
    let answers = on_sockets(async {
        let hello = || async { "hello" };
        let app = Router::new()
            .route("/a", axum::routing::get(hello).post(hello).put(hello))
            .route("/b", any(hello))
            .nest("/c", Router::new().route("/{id}", axum::routing::get(hello).post(hello).put(hello)))
            .layer(layer);
        let served = Served::new(app, subject.request_head().clone()).await;
        let mut answers = Vec::new();
        for _ in 0..50 {
            let mut connection = served.connect().await;
            for path in ["/a", "/b", "/c/1"] {
                for method in [Method::GET, Method::POST, Method::PUT] {
                    let request = Request::builder().method(method).uri(path).body(Empty::new());
                    answers.push(connection.answer(request.expect("a valid request")).await);
                }
            }
        }
        served.stop().await;
        answers
    });
    let passed = answers.iter().filter(|answer| answer.body() == "hello").count();
    match &subject.promise {
        Some(promise) => law.holds_for(promise, &answers),
        None => law.holds(passed == answers.len(), format_args!("of {} requests {passed} came through", answers.len())),
    }
}
