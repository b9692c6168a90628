//! The response of a request that may be sent more than once.

use super::{
    body::ResponseBody,
    course::Course,
    failure::Classify,
    layer::Rules,
    outcome::{self, Outcome},
    replay::RequestBody,
};
use bytes::Buf;
use http::{Request, Response, Version, response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_service::Service;

pin_project! {
    /// The future of [`Retry`](super::Retry).
    pub struct ResponseFuture<S, C, B, R>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        #[pin]
        state: State<S::Future, R>,
        waiting: Waiting<C>,
        // `None` if there is one attempt and no more.
        course: Option<Course<S, B, S::Error>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        /// An attempt is at work.
        Calling { #[pin] future: F },
        /// gRPC answered: its status may be the first thing that comes.
        Peeking { head: Option<Box<response::Parts>>, body: Option<Pin<Box<R>>>, patience: Pin<Box<Sleep>> },
        /// An attempt has failed. The rest of its answer is read, so that its connection can be used again.
        LettingGo { #[pin] body: R, left: usize, patience: Pin<Box<Sleep>>, resume: Instant },
        /// It is too early for the next one.
        Pausing { sleep: Pin<Box<Sleep>> },
        /// It is time, and the service has to be ready.
        Readying { deadline: Option<Pin<Box<Sleep>>> },
    }
}

/// A request that waits for its answer, counted by the budget.
struct Waiting<C> {
    rules: Arc<Rules<C>>,
}

/// For so long a failed answer is read, or one of gRPC looked at: no longer than a short pause takes.
const PATIENCE: Duration = Duration::from_millis(50);
/// And so many bytes of it; a new connection costs less than more.
const DRAINED: usize = 64 * 1024;

// ===== impl ResponseFuture =====

impl<S, C, B, R> ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>>,
{
    #[inline]
    pub(super) fn once(future: S::Future, rules: Arc<Rules<C>>) -> Self {
        Self { state: State::Calling { future }, waiting: Waiting::new(rules), course: None }
    }

    #[inline]
    pub(super) fn of_several(future: S::Future, rules: Arc<Rules<C>>, course: Course<S, B, S::Error>) -> Self {
        Self { state: State::Calling { future }, waiting: Waiting::new(rules), course: Some(course) }
    }
}

impl<S, C, B, R> Future for ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    C: Classify<S::Error>,
    B: Body,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let rules = &*this.waiting.rules;
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    let came = ready!(future.poll(cx));
                    let Some(course) = this.course else {
                        if !came.as_ref().is_ok_and(outcome::is_refusal) {
                            rules.budget.deposit();
                        }
                        return Poll::Ready(came.map(|answer| answer.map(ResponseBody::untouched)));
                    };
                    let outcome = match &came {
                        Ok(answer) => outcome::of_answer(course.policy(rules), answer, course.is_grpc()),
                        Err(error) => outcome::of_error(rules.classify.failure(error)),
                    };
                    if course.is_first() && !matches!(outcome, Outcome::Refused(_)) {
                        rules.budget.deposit();
                    }
                    match came {
                        Ok(answer) if matches!(outcome, Outcome::Unsaid) && course.may_go_on(rules) => {
                            State::peek(answer)
                        }
                        came => match course.go_on(rules, &outcome, came.is_ok()) {
                            None => return Poll::Ready(came.map(|answer| answer.map(ResponseBody::untouched))),
                            Some(pause) => State::let_go(came, pause, course),
                        },
                    }
                }
                StateProj::Peeking { head, body, patience } => {
                    let Some(course) = this.course else { unreachable!("who looks at an answer may try again") };
                    let came = match body.as_mut().expect("it is here until it is returned").as_mut().poll_frame(cx) {
                        Poll::Ready(came) => Some(came),
                        Poll::Pending => {
                            ready!(patience.as_mut().poll(cx));
                            None
                        }
                    };
                    let outcome = of_first(came.as_ref());
                    let pause = course.go_on(rules, &outcome, true);
                    let (Some(head), Some(body)) = (head.take(), body.take()) else {
                        unreachable!("both were here just now")
                    };
                    let Some(pause) = pause else {
                        let body = ResponseBody::looked_at(came, body);
                        return Poll::Ready(Ok(Response::from_parts(*head, body)));
                    };
                    course.last = Some(Box::new(Ok(*head)));
                    State::pause(Instant::now() + pause)
                }
                StateProj::LettingGo { body, left, patience, resume } => {
                    if !is_let_go(body, left, cx) && patience.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    State::pause(*resume)
                }
                StateProj::Pausing { sleep } => {
                    ready!(sleep.as_mut().poll(cx));
                    let deadline = this.course.as_ref().and_then(Course::deadline);
                    State::Readying { deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))) }
                }
                StateProj::Readying { deadline } => {
                    let Some(course) = this.course else { unreachable!("who pauses may try again") };
                    // The deadline first: a service that is ready at that very moment is ready too late.
                    if deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
                        let last = course.settle_for_last(rules);
                        return Poll::Ready(last.map(|head| Response::from_parts(head, ResponseBody::empty())));
                    }
                    if let Err(error) = ready!(course.service.poll_ready(cx)) {
                        course.unready();
                        return Poll::Ready(Err(error));
                    }
                    let request = course.next(rules);
                    State::Calling { future: course.service.call(request) }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, C, B, R> fmt::Debug for ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

// ===== impl State =====

impl<F, R: Body> State<F, R> {
    fn peek(answer: Response<R>) -> Self {
        let (head, body) = answer.into_parts();
        Self::Peeking { head: Some(Box::new(head)), body: Some(Box::pin(body)), patience: Box::pin(sleep(PATIENCE)) }
    }

    /// The failed answer is let go before the pause, or it would keep its connection.
    fn let_go<S, B, E>(came: Result<Response<R>, E>, pause: Duration, course: &mut Course<S, B, E>) -> Self {
        let resume = Instant::now() + pause;
        let (last, body) = match came {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                // A stream of HTTP/2 is reset by dropping it. A connection of HTTP/1 would be closed.
                let is_worth_it = head.version <= Version::HTTP_11
                    && !body.is_end_stream()
                    && body.size_hint().lower() <= DRAINED as u64;
                (Ok(head), Some(body).filter(|_| is_worth_it))
            }
            Err(error) => (Err(error), None),
        };
        course.last = Some(Box::new(last));
        match body {
            Some(body) => Self::LettingGo { body, left: DRAINED, patience: Box::pin(sleep(PATIENCE)), resume },
            None => Self::pause(resume),
        }
    }

    fn pause(until: Instant) -> Self {
        Self::Pausing { sleep: Box::pin(sleep_until(until)) }
    }
}

/// What the first frame of a gRPC answer says.
fn of_first<D, E>(came: Option<&Option<Result<http_body::Frame<D>, E>>>) -> Outcome {
    match came {
        Some(Some(Ok(frame))) => frame.trailers_ref().map_or(Outcome::Answered, outcome::of_trailers),
        _ => Outcome::Answered,
    }
}

/// Reads what comes of a body that nobody wants; whether that was all, or enough.
fn is_let_go<R: Body>(mut body: Pin<&mut R>, left: &mut usize, cx: &mut Context<'_>) -> bool {
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Pending => return false,
            Poll::Ready(None | Some(Err(_))) => return true,
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                if bytes > *left || body.is_end_stream() {
                    return true;
                }
                // A frame of nothing counts as well, or a stream of them would have no end.
                *left = left.saturating_sub(bytes.max(1));
                if *left == 0 {
                    return true;
                }
            }
        }
    }
}

// ===== impl Waiting =====

impl<C> Waiting<C> {
    #[inline]
    fn new(rules: Arc<Rules<C>>) -> Self {
        rules.budget.enter();
        Self { rules }
    }
}

impl<C> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.rules.budget.leave();
    }
}
