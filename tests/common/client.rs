//! A client over a socket: one connection, one request after the other.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::{net::TcpStream, task::JoinHandle};

pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    #[allow(dead_code, reason = "see `hang_up`")]
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, mut request: Request<Empty<Bytes>>) -> Response<Bytes> {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        self.sender.ready().await.unwrap();
        let (head, body) = self.sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    /// Closes the connection, whatever is under way on it.
    #[allow(dead_code, reason = "not every test that has a client hangs up")]
    pub(crate) async fn hang_up(self) {
        self.connection.abort();
        let _ = self.connection.await;
    }
}

/// A request of the tenant `acme`.
pub(crate) fn from_acme(method: &str, path: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri(path).header("x-tenant-id", "acme").body(Empty::new()).unwrap()
}
