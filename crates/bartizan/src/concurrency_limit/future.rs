//! The response of a limited request.

use super::{
    event::{Event, Refused},
    gate::{Permit, Ticket},
    layer::Door,
};
use crate::shared::{ColdDrop, ResponseBody, Said};
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
        Calling { #[pin] future: F, permit: ColdDrop<Permit> },
        Otherwise { otherwise: ColdDrop<Otherwise<S, B>> },
    }
}

enum Otherwise<S, B> {
    /// Nothing is left but to hand this over. Not boxed: most futures are as large, and a refusal should cost little.
    Refused(Response<Said>),
    /// There is no permit yet, or the service is not ready.
    Waiting(Box<Held<S, B>>),
}

/// What waits for a permit, and then for the service.
struct Held<S, B> {
    turn: Turn,
    since: Instant,
    until: Instant,
    sleep: Pin<Box<Sleep>>,
    service: S,
    request: Request<B>,
    door: Arc<Door>,
}

enum Turn {
    Awaited(Ticket),
    Come(Permit),
    Over,
}

// ===== impl ResponseFuture =====

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[inline]
    pub(super) fn calling(future: S::Future, permit: Option<Permit>) -> Self {
        Self { state: State::Calling { future, permit: ColdDrop::new(permit) } }
    }

    #[inline]
    pub(super) fn refused(response: Response<Said>) -> Self {
        Self { state: State::otherwise(Otherwise::Refused(response)) }
    }

    pub(super) fn waiting(ticket: Ticket, until: Instant, service: S, request: Request<B>, door: Arc<Door>) -> Self {
        let (turn, since, sleep) = (Turn::Awaited(ticket), Instant::now(), Box::pin(sleep_until(until)));
        Self { state: State::waiting(Box::new(Held { turn, since, until, sleep, service, request, door })) }
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
                    Otherwise::Waiting(held) => ready!(state.as_mut().poll_held(held, cx))?,
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
        Self::Otherwise { otherwise: ColdDrop::new(Some(otherwise)) }
    }

    fn waiting(held: Box<Held<S, B>>) -> Self {
        Self::otherwise(Otherwise::Waiting(held))
    }

    /// Goes on waiting, or to what comes after it.
    #[inline(never)]
    fn poll_held(
        mut self: Pin<&mut Self>,
        mut held: Box<Held<S, B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>> {
        let polled = held.poll(cx)?;
        self.set(if polled.is_ready() { held.go_on() } else { Self::waiting(held) });
        polled.map(Ok)
    }
}

// ===== impl Held =====

impl<S, B> Held<S, B>
where
    S: Service<Request<B>>,
{
    /// Ready with a permit and a service that is ready, or when it is too late for them. A timer rings late rather than
    /// early.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if let Turn::Awaited(ticket) = &mut self.turn
            && let Poll::Ready(permit) = ticket.poll_turn(cx)
        {
            self.turn = if Instant::now() <= self.until { Turn::Come(permit) } else { Turn::Over };
        }
        let polled = match self.turn {
            Turn::Awaited(_) => Poll::Pending,
            Turn::Come(_) => self.service.poll_ready(cx)?,
            Turn::Over => Poll::Ready(()),
        };
        if polled.is_pending() {
            ready!(self.sleep.as_mut().poll(cx));
            self.turn = Turn::Over; // who will not wait leaves the queue before anything else
        }
        Poll::Ready(Ok(()))
    }

    fn go_on(self) -> State<S, B, S::Future> {
        let Self { turn, since, mut service, mut request, door, .. } = self;
        door.tell(Event::Waited(since.elapsed()));
        match turn {
            Turn::Come(permit) => {
                door.tell(Event::Admitted);
                State::Calling { future: service.call(request), permit: ColdDrop::new(Some(permit)) }
            }
            Turn::Awaited(_) | Turn::Over => {
                State::otherwise(Otherwise::Refused(door.refuse(Refused::WaitedTooLong, &mut request)))
            }
        }
    }
}
