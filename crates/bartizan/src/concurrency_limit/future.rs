//! The response of a limited request.

use super::{
    event::{Event, Refused},
    gate::{Permit, Ticket},
    layer::Door,
};
use crate::shared::{ResponseBody, Said};
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
        Calling { #[pin] future: F, permit: Option<Permit> },
        /// Nothing is left but to hand this over. Not boxed: most futures are as large, and a refusal should cost little.
        Refused { response: Option<Response<Said>> },
        /// There is no permit yet.
        Waiting { held: Option<Box<Held<S, B>>> },
    }
}

/// What waits for a permit: the service that was ready, and its request.
struct Held<S, B> {
    ticket: Ticket,
    since: Instant,
    until: Instant,
    sleep: Pin<Box<Sleep>>,
    service: S,
    request: Request<B>,
    door: Arc<Door>,
}

// ===== impl ResponseFuture =====

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<B>>,
{
    #[inline]
    pub(super) fn calling(future: S::Future, permit: Option<Permit>) -> Self {
        Self { state: State::Calling { future, permit } }
    }

    #[inline]
    pub(super) fn refused(response: Response<Said>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(super) fn waiting(ticket: Ticket, until: Instant, service: S, request: Request<B>, door: Arc<Door>) -> Self {
        let (since, sleep) = (Instant::now(), Box::pin(sleep_until(until)));
        let held = Held { ticket, since, until, sleep, service, request, door };
        Self { state: State::Waiting { held: Some(Box::new(held)) } }
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
        if let State::Waiting { .. } = *state {
            ready!(state.as_mut().poll_turn(cx));
        }
        match state.project() {
            StateProj::Calling { future, permit } => {
                let answer = ready!(future.poll(cx));
                // It goes where the body goes. With an error it is back at once, whoever keeps the future, and also where
                // there is nothing to send.
                let is_over = answer.as_ref().map_or(true, |response| response.body().is_end_stream());
                let permit = permit.take().filter(|_| !is_over);
                Poll::Ready(answer.map(|response| response.map(|body| ResponseBody::watched(body, permit))))
            }
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(ResponseBody::said)))
            }
            StateProj::Waiting { .. } => unreachable!("who has waited is let in or refused"),
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
    /// Goes on to what comes after the waiting.
    #[inline(never)]
    fn poll_turn(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let StateProj::Waiting { held } = self.as_mut().project() {
            let waiting = held.as_mut().expect("a permit is waited for once");
            let outcome = ready!(waiting.poll_turn(cx));
            let next = held.take().expect("it was there just now").go_on(outcome);
            self.set(next);
        }
        Poll::Ready(())
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
        let Self { ticket, since, mut service, mut request, door, .. } = self;
        drop(ticket); // who will not wait leaves the queue before anything else
        door.tell(Event::Waited(since.elapsed()));
        match outcome {
            Ok(permit) => {
                door.tell(Event::Admitted);
                State::Calling { future: service.call(request), permit: Some(permit) }
            }
            Err(refused) => State::Refused { response: Some(door.refuse(refused, &mut request)) },
        }
    }
}
