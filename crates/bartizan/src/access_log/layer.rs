//! How the access log plugs in.

use super::{
    entry::Entry,
    format::Format,
    level::{Class, Level},
    line::Names,
    log::{Log, Sink},
    sample::Sample,
};
use crate::shared::{End, ResponseBody, TrustedProxies, Watch};
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    borrow::Cow,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};
use tower_layer::Layer;
use tower_service::Service;

/// Logs each request when its last byte has left. See the [module](super).
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    log: Arc<Log>,
}

/// What became of a line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It was handed to `tracing`, or to the writer.
    Logged,
    /// It was left out by the sample.
    LeftOut,
    /// The writer did not take it.
    Lost(&'a io::Error),
}

/// The service that [`AccessLogLayer`] makes.
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    inner: S,
    log: Arc<Log>,
}

pin_project! {
    /// The future of [`AccessLog`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        entry: Unanswered,
    }
}

/// The entry of a request until there is an answer, if there is one: a service that is given up, or panics, ends it.
#[derive(Debug)]
struct Unanswered(Option<Entry>);

// ===== impl AccessLogLayer =====

impl AccessLogLayer {
    /// One `tracing` event per request, with the target `bartizan::access`: at `INFO`, at `WARN` for a status from 400
    /// to 499 and for clients that went away, at `ERROR` from 500 on and for what broke.
    ///
    /// All requests are logged. The client is the peer of the connection.
    #[must_use]
    pub fn new() -> Self {
        Self { log: Arc::new(Log::new()) }
    }

    /// Puts the name of your service into each line.
    #[must_use]
    pub fn service(mut self, name: impl Into<Arc<str>>) -> Self {
        self.log_mut().service = Some(name.into());
        self
    }

    /// Finds the client behind these proxies.
    #[must_use]
    pub fn client_by(mut self, proxies: TrustedProxies) -> Self {
        self.log_mut().proxies = proxies;
        self
    }

    /// Tells the user from the head of the request, as it comes in: what somebody in front has written there, say. It
    /// does not see what is found out further in. Authentication, which belongs inside of the log, notes the user itself,
    /// with [`Notes::user`](crate::Notes::user), and that goes before.
    ///
    /// ```
    /// # use bartizan::access_log::AccessLogLayer;
    /// // Set by the proxy in front, which takes out what clients write there.
    /// let log = AccessLogLayer::new()
    ///     .user_by(|head| head.headers.get("x-authenticated-user")?.to_str().ok().map(Into::into));
    /// ```
    #[must_use]
    pub fn user_by(
        mut self,
        user: impl for<'a> Fn(&'a request::Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.log_mut().user = Some(Arc::new(user));
        self
    }

    /// Tells the template of the route, such as `/users/{id}`, from the head of the request: for axum,
    /// `bartizan::bridge::axum::matched_path`. What is noted with [`Notes::route`](crate::Notes::route) goes before.
    ///
    /// With this function set, a 404 without a route carries the flag `NR`. So set it only where the layer sees what
    /// the router has found: inside of it, as `Router::layer` puts it.
    #[must_use]
    pub fn route_by(
        mut self,
        route: impl for<'a> Fn(&'a request::Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.log_mut().route = Some(Arc::new(route));
        self
    }

    /// Hides the values of these query parameters too. `x-own-*` stands for all that begin like it.
    #[must_use]
    pub fn redact<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        for name in names {
            self.log_mut().redact.add(name.as_ref());
        }
        self
    }

    /// Leaves the query out.
    #[must_use]
    pub fn without_query(mut self) -> Self {
        self.log_mut().with_query = false;
        self
    }

    /// Writes lines to `writer` instead of telling `tracing`.
    ///
    /// Each line is one `write_all`, under a lock that all requests share, on the thread that sends the response. So the
    /// writer should be quick: a file, standard output, memory. Before a slow one put a queue, such as
    /// `tracing_appender::non_blocking`. Nothing is flushed.
    #[must_use]
    pub fn write_to(mut self, writer: impl io::Write + Send + 'static, format: Format) -> Self {
        self.log_mut().sink = Sink::Writer { writer: Arc::new(Mutex::new(writer)), format };
        self
    }

    /// Names the fields in this manner. The default is [`Names::Snake`].
    #[must_use]
    pub fn names(mut self, names: Names) -> Self {
        self.log_mut().names = names;
        self
    }

    /// Sets the level of a class of requests.
    #[must_use]
    pub fn level(mut self, class: Class, level: Level) -> Self {
        self.log_mut().levels.set(class, level);
        self
    }

    /// Logs this share of the ordinary requests: 0 is none of them, 1 all.
    ///
    /// Never left out: a status of 400 and above, a client that went away, a failure, a request with a flag or an
    /// `error.type`, and one as slow as [`slow_after`](Self::slow_after) says. A request with an id is in or out by that
    /// id, so services that share ids log the same requests.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.log_mut().sample = Sample::share(share);
        self
    }

    /// How long a request takes that no sample leaves out. The default is one second.
    #[must_use]
    pub fn slow_after(mut self, time: Duration) -> Self {
        self.log_mut().slow_after = time;
        self
    }

    /// Runs the service in a span `request` with the fields `request_id` and `method`, so that whatever it logs carries
    /// them, and with room for `tenant_id` and `user_id`, which whoever knows them records.
    ///
    /// The span ends with the head of the response. It costs what your subscriber makes of it, which can be more than
    /// all the rest of the log; without it nothing.
    #[must_use]
    pub fn in_span(mut self) -> Self {
        self.log_mut().in_span = true;
        self
    }

    /// Tells this function what became of each line.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.log_mut().observer = Some(Arc::new(observer));
        self
    }

    fn log_mut(&mut self) -> &mut Log {
        Arc::make_mut(&mut self.log)
    }
}

impl Default for AccessLogLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessLog { inner, log: Arc::clone(&self.log) }
    }
}

// ===== impl AccessLog =====

impl<S, B, R> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<ResponseBody<R, Entry>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let entry = Unanswered(Entry::open(&self.log, &mut request));
        let inner = match &entry.0 {
            None => self.inner.call(request),
            Some(entry) => entry.in_span(|| self.inner.call(request)),
        };
        ResponseFuture { inner, entry }
    }
}

// ===== impl ResponseFuture =====

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R, Entry>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(entry) = &mut this.entry.0 else {
            return this.inner.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
        };
        let result = ready!(entry.in_span(|| this.inner.poll(cx)));
        if let Ok(response) = &result {
            entry.answered(response);
        }
        let entry = this.entry.0.take().expect("it was there a line ago");
        Poll::Ready(match result {
            Ok(response) => Ok(response.map(|body| ResponseBody::inner(body).watched_by(entry))),
            Err(error) => {
                entry.end(End::Failed);
                Err(error)
            }
        })
    }
}

// ===== impl Unanswered =====

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            entry.end(End::Dropped);
        }
    }
}
