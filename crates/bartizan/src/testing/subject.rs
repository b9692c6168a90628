//! A layer, and what the laws must know of it.

use super::{
    body::ProbeBody,
    probe::{Mark, Probe, ProbeError},
};
use crate::PeerAddr;
use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Body;
use std::{
    error, fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
};
use tower_layer::Layer;
use tower_service::Service;

/// A layer as an argument of the laws: the layer itself, and what they must know of it.
pub struct Subject<L> {
    pub(super) layer: L,
    pub(super) name: &'static str,
    request: Request<()>,
    pub(super) promise: Option<Promise<L>>,
    at_rest: Option<Box<dyn Fn() -> bool>>,
    pub(super) answers_by_itself: bool,
}

pub(super) struct Promise<L> {
    pub(super) layer: L,
    pub(super) kept: Box<Kept>,
}

const PEER: PeerAddr = PeerAddr(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000));

type Kept = dyn Fn(&[Response<Bytes>]);

/// One law, to be held against one layer.
pub(super) struct Law {
    layer: &'static str,
    sentence: &'static str,
}

/// The laws that the compiler checks. Every layer that keeps them has this trait.
///
/// The layer takes a request whose body is not `Clone`; its error is the error of the inner service; its service is
/// `Clone + Send + Sync + 'static` as the inner one is; its future is `Send`; its body's error has the inner one as
/// its source.
pub trait Lawful:
    Layer<
        Probe,
        Service: Service<
            Request<ProbeBody>,
            Response = Response<Self::ResponseBody>,
            Error = ProbeError,
            Future: Send + 'static,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The body that the layer answers with.
    type ResponseBody: Body<Data: Buf + Send, Error: Into<Box<dyn error::Error + Send + Sync>>> + Send + 'static;
}

// ===== impl Subject =====

impl<L> Subject<L> {
    /// The layer, with a plain request that it lets through.
    ///
    /// State that a layer keeps shall allow for a few hundred requests: most laws are about what passes.
    pub fn new(layer: L) -> Self {
        let mut request = Request::new(());
        request.extensions_mut().insert(PEER);
        Self { layer, name: "the layer", request, promise: None, at_rest: None, answers_by_itself: false }
    }

    /// The name that a broken law is reported under. [`laws!`](crate::laws) sets it to the name of the row.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// A request that the layer lets through, for one that asks for a header or an extension.
    ///
    /// Its headers and extensions are added to every request; so is a [`PeerAddr`] if it has none.
    #[must_use]
    pub fn request(mut self, mut request: Request<()>) -> Self {
        if request.extensions().get::<PeerAddr>().is_none() {
            request.extensions_mut().insert(PEER);
        }
        self.request = request;
        self
    }

    /// What the layer promises however often it is applied, and a layer to hold it against.
    ///
    /// `kept` sees the answers to some hundreds of requests through many applications of `layer`, and asserts: that
    /// three were admitted, that all ids differ, that there is a line for each.
    #[must_use]
    pub fn promise(mut self, layer: L, kept: impl Fn(&[Response<Bytes>]) + 'static) -> Self {
        self.promise = Some(Promise { layer, kept: Box::new(kept) });
        self
    }

    /// How to see that no request is in flight: every permit is back, every count at zero.
    ///
    /// It must answer `false` from the first poll of a request's future until the response's body has ended.
    #[must_use]
    pub fn at_rest(mut self, at_rest: impl Fn() -> bool + 'static) -> Self {
        self.at_rest = Some(Box::new(at_rest));
        self
    }

    /// The layer has answers that need no service, as a cache has, and so does not wait for one before it sees the request.
    ///
    /// Two laws are others then. It is ready at once, though the inner service is busy; its call waits for the inner service
    /// inside of its future, and there an error of the inner `poll_ready` comes out.
    #[must_use]
    pub fn answers_by_itself(self) -> Self {
        Self { answers_by_itself: true, ..self }
    }

    pub(super) fn law(&self, sentence: &'static str) -> Law {
        Law { layer: self.name, sentence }
    }

    /// `None` if the layer lends nothing, as far as we are told.
    pub(super) fn is_at_rest(&self) -> Option<bool> {
        self.at_rest.as_ref().map(|at_rest| at_rest())
    }

    /// A request that passes, with this body.
    pub(super) fn request_with(&self, body: ProbeBody) -> Request<ProbeBody> {
        let mut request = self.request.clone().map(|()| body);
        request.extensions_mut().insert(Mark(1));
        request
    }

    pub(super) fn plain_request(&self) -> Request<ProbeBody> {
        self.request_with(ProbeBody::new([]))
    }

    /// What a request from outside must bring along.
    pub(super) fn request_head(&self) -> &Request<()> {
        &self.request
    }
}

impl<L> fmt::Debug for Subject<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

// ===== impl Law =====

impl Law {
    /// Fails the test, with the names of the law and the layer, unless `kept`.
    #[track_caller]
    pub(super) fn holds(&self, kept: bool, otherwise: impl fmt::Display) {
        assert!(kept, "{} breaks the law that {}: {otherwise}", self.layer, self.sentence);
    }

    /// Fails the test unless the promise is kept. What the promise asserts has been printed before.
    #[track_caller]
    pub(super) fn holds_for<L>(&self, promise: &Promise<L>, answers: &[Response<Bytes>]) {
        let kept = catch_unwind(AssertUnwindSafe(|| (promise.kept)(answers)));
        self.holds(kept.is_ok(), format_args!("its promise is not kept over {} requests", answers.len()));
    }

    /// Fails the test unless what came out is what went in.
    #[track_caller]
    pub(super) fn same<T: PartialEq + fmt::Debug>(&self, what: &str, out: &T, inside: &T) {
        self.holds(out == inside, format_args!("{what} went in as {inside:?} and came out as {out:?}"));
    }
}

// ===== impl Lawful =====

impl<L, S, B> Lawful for L
where
    L: Layer<Probe, Service = S> + Clone + Send + Sync + 'static,
    S: Service<Request<ProbeBody>, Response = Response<B>, Error = ProbeError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data: Buf + Send, Error: Into<Box<dyn error::Error + Send + Sync>>> + Send + 'static,
{
    type ResponseBody = B;
}
