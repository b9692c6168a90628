//! A connection that changes its protocol goes on after the response; what the layer does must not stand in its way.

use crate::testing::{
    Lawful, Subject,
    served::{ForAxum, Served, on_sockets},
};
use axum::{Router, extract::Request, routing::get};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A handler behind the layer upgrades its connection, and the client's bytes come back over it.
pub fn an_upgraded_connection_passes_untouched<L: Lawful + ForAxum>(subject: &Subject<L>) {
    let law = subject.law("an upgraded connection passes untouched");
    on_sockets(async {
        let app = Router::new().route("/", get(echo)).layer(subject.layer.clone());
        let served = Served::new(app, subject.request_head().clone()).await;
        let mut connection = served.connect().await;
        let request = http::Request::get("/")
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "echo")
            .body(Empty::new());
        let response = connection.response(request.expect("a valid request")).await;
        law.same("the status", &response.status(), &StatusCode::SWITCHING_PROTOCOLS);
        law.same("the protocol", &response.headers().get(header::UPGRADE), &Some(&HeaderValue::from_static("echo")));

        let upgraded = hyper::upgrade::on(response).await;
        law.holds(upgraded.is_ok(), "the client could not upgrade");
        let Ok(upgraded) = upgraded else { return };
        let mut io = TokioIo::new(upgraded);
        let mut back = [0; 5];
        let echoed = async {
            io.write_all(b"hello").await?;
            io.read_exact(&mut back).await
        };
        let echoed = echoed.await.is_ok();
        law.holds(echoed && &back == b"hello", "what was sent over the upgraded connection did not come back");
    });
}

/// Answers with 101, then sends back whatever comes.
async fn echo(mut request: Request) -> Response<axum::body::Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo"));
    response
}
