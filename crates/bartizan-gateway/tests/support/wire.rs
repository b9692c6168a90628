//! HTTP/1.1 as bytes: an origin that sends whatever a script says, and a client that reads what really came.

use super::*;
use bartizan::cache::{CacheLayer, ResponseCache};
use bartizan_gateway::{Proxy, client};
use std::{
    io,
    sync::{Arc, Mutex},
};
use tower::Layer;

/// What an origin does about a request: the bytes it sends, and what follows.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It reads the next request.
    Keep,
    /// It closes the connection properly.
    Close,
    /// It resets the connection.
    Reset,
    /// It says nothing more, until the other side has gone.
    Hang,
}

/// An origin, and the heads of the requests that it has read so far.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

/// A client's connection.
pub(crate) struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

/// A proxy with a cache of the usual kind in front of this origin.
pub(crate) async fn cached(origin: SocketAddr) -> SocketAddr {
    caching(CacheLayer::new(ResponseCache::new(16 << 20)), origin).await
}

/// As the program puts it together.
pub(crate) async fn caching(cache: CacheLayer, origin: SocketAddr) -> SocketAddr {
    let proxy = Proxy::new(client(), &format!("http://{origin}")).expect("a URL").keep_host().upgrades();
    let listener = bartizan_gateway::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let proxy = proxy.head_within(ms(2_000));
    tokio::spawn(bartizan_gateway::serve(listener, proxy.front().layer(cache.layer(proxy.clone()))).run());
    addr
}

/// A 200 with these fields, each with its line's end, and this body.
pub(crate) fn ok(fields: &str, body: &str) -> Said {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into()
}

pub(crate) fn ask(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n{fields}\r\n")
}

// ===== impl Said =====

impl Said {
    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

impl<B: Into<Vec<u8>>> From<B> for Said {
    fn from(bytes: B) -> Self {
        Self { bytes: bytes.into(), then: Then::Keep }
    }
}

// ===== impl Origin =====

impl Origin {
    /// Answers by the number of the request, counted from zero, and its head.
    pub(crate) async fn new(script: impl Fn(usize, &str) -> Said + Send + Sync + 'static) -> Self {
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (script, seen) = (Arc::new(script), Arc::clone(&heads));
        let addr = raw(move |stream| {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
            async move {
                let next = |head: String| {
                    let mut seen = seen.lock().expect("nobody panics with it");
                    seen.push(head.clone());
                    script(seen.len() - 1, &head)
                };
                let _ = Self::talk(stream, next).await;
            }
        })
        .await;
        Self { addr, heads }
    }

    /// Always the same.
    pub(crate) async fn saying(said: impl Into<Said>) -> Self {
        let said = said.into();
        Self::new(move |_, _| said.clone()).await
    }

    pub(crate) fn count(&self) -> usize {
        self.heads.lock().expect("nobody panics with it").len()
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panics with it").clone()
    }

    async fn talk(mut stream: TcpStream, mut next: impl FnMut(String) -> Said) -> io::Result<()> {
        let mut read = Vec::new();
        loop {
            while end_of_head(&read).is_none() {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            let head: Vec<u8> = read.drain(..end_of_head(&read).expect("it is there")).collect();
            let said = next(String::from_utf8_lossy(&head).into_owned());
            stream.write_all(&said.bytes).await?;
            match said.then {
                Then::Keep => {}
                Then::Close => return stream.shutdown().await,
                Then::Reset => return stream.set_zero_linger(),
                Then::Hang => {
                    while stream.read_buf(&mut read).await? > 0 {}
                    return Ok(());
                }
            }
        }
    }
}

// ===== impl Peer =====

impl Peer {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::of(TcpStream::connect(addr).await.expect("a connection"))
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Sends a request, and reads the answer to it.
    pub(crate) async fn ask(&mut self, request: &str) -> Reply {
        self.send(request).await;
        self.reply(request.starts_with("HEAD ")).await.expect("a whole answer")
    }

    /// Goes without a word more: by a reset.
    pub(crate) fn leave(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// An answer to its end, or an error if it breaks off.
    pub(crate) async fn reply(&mut self, has_no_body: bool) -> io::Result<Reply> {
        timeout(PATIENCE, self.read_reply(has_no_body)).await.expect("an answer in time")
    }

    async fn read_reply(&mut self, has_no_body: bool) -> io::Result<Reply> {
        let head = self.head().await?;
        let (first, fields) = head.split_once("\r\n").ok_or(io::ErrorKind::InvalidData)?;
        let status =
            first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut reply = Reply { status, fields: parsed(fields), body: Vec::new(), trailers: HeaderMap::new() };
        if has_no_body || matches!(status, 100..=199 | 204 | 304) {
            return Ok(reply);
        }
        let length = reply.fields.get("content-length").map(|length| length.to_str().expect("ASCII").parse());
        match length {
            _ if reply.fields.contains_key("transfer-encoding") => {
                assert!(length.is_none(), "two framings: {head}");
                loop {
                    let line = self.line().await?;
                    let size = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
                    if size == 0 {
                        break;
                    }
                    reply.body.extend_from_slice(&self.bytes(size).await?);
                    assert_eq!(self.line().await?, "");
                }
                let mut trailers = String::new();
                loop {
                    match self.line().await?.as_str() {
                        "" => break,
                        line => trailers.extend([line, "\r\n"]),
                    }
                }
                reply.trailers = parsed(&trailers);
            }
            Some(length) => reply.body = self.bytes(length.expect("a number")).await?,
            None => {
                while self.stream.read_buf(&mut self.read).await? > 0 {}
                reply.body = std::mem::take(&mut self.read);
            }
        }
        Ok(reply)
    }

    async fn head(&mut self) -> io::Result<String> {
        while end_of_head(&self.read).is_none() {
            self.more().await?;
        }
        let head = self.read.drain(..end_of_head(&self.read).expect("it is there")).collect();
        String::from_utf8(head).map_err(io::Error::other)
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.more().await?;
        }
    }

    async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < count {
            self.more().await?;
        }
        Ok(self.read.drain(..count).collect())
    }

    /// Reads so many bytes of whatever comes, as a slow reader would.
    pub(crate) async fn sip(&mut self, count: usize) -> io::Result<()> {
        while self.read.len() < count {
            timeout(PATIENCE, self.more()).await.expect("something in time")?;
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

// ===== impl Reply =====

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// A field, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// How it came, by `Cache-Status`.
    pub(crate) fn how(&self) -> &str {
        self.field("cache-status")
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.how().starts_with("bartizan; hit")
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn parsed(lines: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(':')) {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
        fields.append(name, value.trim().parse().expect("a value"));
    }
    fields
}
