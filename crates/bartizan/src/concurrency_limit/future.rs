//! The response of a limited request.

use super::{
    event::{Event, Refused},
    gate::{Permit, Ticket},
    layer::Door,
};
use crate::shared::{Aside, ResponseBody, Said};
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

pin_project! {
    /// The future of [`ConcurrencyLimited`](super::ConcurrencyLimited).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        /// The inner service is at work. Who is exempt has no permit.
        Calling { #[pin] future: F, permit: Aside<Permit> },
        Otherwise { otherwise: Aside<Otherwise<S, B>> },
    }
}

enum Otherwise<S, B> {
    /// Nothing is left but to hand this over. Not boxed: most futures are as large, and a refusal should cost little.
    Refused(Response<Said>),
    /// There is no permit yet.
    Waiting(Box<Held<S, B>>),
    /// There is, and the service may not be ready.
    Admitted(Box<Admitted<S, B>>),
}

/// What waits for a permit.
struct Held<S, B> {
    ticket: Ticket,
    since: Instant,
    until: Instant,
    sleep: Pin<Box<Sleep>>,
    service: S,
    request: Request<B>,
    door: Arc<Door>,
}

struct Admitted<S, B> {
    permit: Permit,
    service: S,
    request: Request<B>,
}

// ===== impl ResponseFuture =====

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[inline]
    pub(super) fn calling(future: S::Future, permit: Option<Permit>) -> Self {
        Self { state: State::Calling { future, permit: Aside::new(permit) } }
    }

    #[inline]
    pub(super) fn refused(response: Response<Said>) -> Self {
        Self { state: State::otherwise(Otherwise::Refused(response)) }
    }

    pub(super) fn waiting(ticket: Ticket, until: Instant, service: S, request: Request<B>, door: Arc<Door>) -> Self {
        let (since, sleep) = (Instant::now(), Box::pin(sleep_until(until)));
        let held = Held { ticket, since, until, sleep, service, request, door };
        Self { state: State::otherwise(Otherwise::Waiting(Box::new(held))) }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R, Permit>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Calling { future, permit } => {
                    let answer = ready!(future.poll(cx));
                    // It goes where the body goes. With an error it is back at once, whoever keeps the future.
                    let permit = permit.take();
                    let mut answer = answer.map(|response| response.map(|body| ResponseBody::watched(body, permit)));
                    if let Ok(response) = &mut answer {
                        response.body_mut().end_if_over();
                    }
                    return Poll::Ready(answer);
                }
                StateProj::Otherwise { otherwise } => match otherwise.take().expect("polled after it was ready") {
                    Otherwise::Refused(response) => return Poll::Ready(Ok(response.map(ResponseBody::said))),
                    Otherwise::Waiting(held) => ready!(state.as_mut().poll_turn(held, cx)),
                    Otherwise::Admitted(admitted) => ready!(state.as_mut().poll_ready(admitted, cx))?,
                },
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

// ===== impl State =====

impl<S, B> State<S, B, S::Future>
where
    S: Service<Request<B>>,
{
    #[inline]
    fn otherwise(otherwise: Otherwise<S, B>) -> Self {
        Self::Otherwise { otherwise: Aside::new(Some(otherwise)) }
    }

    /// Goes on waiting, or to what comes after it.
    #[inline(never)]
    fn poll_turn(mut self: Pin<&mut Self>, mut held: Box<Held<S, B>>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = held.poll_turn(cx);
        let is_pending = polled.is_pending();
        self.set(match polled {
            Poll::Ready(outcome) => held.go_on(outcome),
            Poll::Pending => Self::otherwise(Otherwise::Waiting(held)),
        });
        if is_pending { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Calls the service as soon as it is ready.
    #[inline(never)]
    fn poll_ready(
        mut self: Pin<&mut Self>,
        mut admitted: Box<Admitted<S, B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        let polled = admitted.service.poll_ready(cx)?;
        self.set(match polled {
            Poll::Ready(()) => {
                let Admitted { permit, mut service, request } = *admitted;
                Self::Calling { future: service.call(request), permit: Aside::new(Some(permit)) }
            }
            Poll::Pending => Self::otherwise(Otherwise::Admitted(admitted)),
        });
        polled.map(Ok)
    }
}

// ===== impl Held =====

impl<S, B> Held<S, B> {
    /// The permit, or that it is too late for one. A timer rings late rather than early.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, Refused>> {
        if let Poll::Ready(permit) = self.ticket.poll_turn(cx) {
            let in_time = Instant::now() <= self.until;
            return Poll::Ready(if in_time { Ok(permit) } else { Err(Refused::WaitedTooLong) });
        }
        self.sleep.as_mut().poll(cx).map(|()| Err(Refused::WaitedTooLong))
    }

    fn go_on(self, outcome: Result<Permit, Refused>) -> State<S, B, S::Future>
    where
        S: Service<Request<B>>,
    {
        let Self { ticket, since, service, mut request, door, .. } = self;
        drop(ticket); // who will not wait leaves the queue before anything else
        door.tell(Event::Waited(since.elapsed()));
        match outcome {
            Ok(permit) => {
                door.tell(Event::Admitted);
                State::otherwise(Otherwise::Admitted(Box::new(Admitted { permit, service, request })))
            }
            Err(refused) => State::otherwise(Otherwise::Refused(door.refuse(refused, &mut request))),
        }
    }
}
