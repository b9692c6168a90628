//! The response of a request that may be sent more than once.

use super::{
    body::ResponseBody,
    course::Course,
    drain::{Drain, Whole},
    event::GaveUp,
    failure::Classify,
    layer::Rules,
    outcome::{self, Outcome},
    replay::RequestBody,
};
use http::{Request, Response, response};
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
        R: Body,
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
    enum State<F, R: Body> {
        /// An attempt is at work, as it mostly is: nothing else takes room here.
        Calling { #[pin] future: F },
        /// An attempt has ended, and there may be another.
        Between { between: Pin<Box<Between<R>>> },
    }
}

pin_project! {
    #[project = BetweenProj]
    enum Between<R: Body> {
        /// gRPC answered: its status may be the first thing that comes.
        Peeking { head: Option<Box<response::Parts>>, body: Option<Pin<Box<R>>>, #[pin] patience: Sleep },
        /// An attempt has failed. The rest of its answer is read, so that its connection can be used again.
        LettingGo { #[pin] drain: Drain<R>, resume: Instant },
        /// It is too early for the next one. If the body of the answer was read, it is here.
        Pausing { #[pin] sleep: Sleep, whole: Option<Whole<R>> },
        /// It is time, and the service has to be ready.
        Readying { #[pin] deadline: Option<Sleep>, whole: Option<Whole<R>> },
    }
}

/// A request that waits for its answer, counted by the budget.
struct Waiting<C> {
    rules: Arc<Rules<C>>,
}

/// For so long a failed answer is read, or one of gRPC looked at: no longer than a short pause takes.
const PATIENCE: Duration = Duration::from_millis(50);

// ===== impl ResponseFuture =====

impl<S, C, B, R> ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>>,
    R: Body,
{
    #[inline]
    pub(super) fn once(future: S::Future, rules: Arc<Rules<C>>) -> Self {
        // It waits before the future is put in its place, which so moves there once.
        Self { waiting: Waiting::new(rules), state: State::Calling { future }, course: None }
    }

    #[inline]
    pub(super) fn of_several(future: S::Future, rules: Arc<Rules<C>>, course: Course<S, B, S::Error>) -> Self {
        Self { waiting: Waiting::new(rules), state: State::Calling { future }, course: Some(course) }
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

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let StateProj::Calling { future } = this.state.project() else { return self.poll_between(cx) };
        let came = ready!(future.poll(cx));
        let rules = &*this.waiting.rules;
        let (is_over, counts) = match (this.course, &came) {
            (None, came) => (true, !came.as_ref().is_ok_and(outcome::is_refusal)),
            (Some(course), Ok(answer)) => (course.is_over_at_once(rules, answer), true),
            (Some(_), Err(_)) => (false, false),
        };
        if is_over {
            if counts {
                rules.budget.deposit();
            }
            return Poll::Ready(came.map(|answer| answer.map(ResponseBody::untouched)));
        }
        match self.as_mut().judge(came) {
            Some(came) => Poll::Ready(came),
            None => self.poll_between(cx),
        }
    }
}

impl<S, C, B, R> ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    C: Classify<S::Error>,
    B: Body,
    R: Body,
{
    /// What few requests come to, apart from what most do, which so is short.
    #[inline(never)]
    fn poll_between(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        loop {
            let mut this = self.as_mut().project();
            let rules = &*this.waiting.rules;
            let came = match (this.state.as_mut().project(), this.course) {
                (StateProj::Calling { future }, _) => ready!(future.poll(cx)),
                (StateProj::Between { between }, Some(course)) => {
                    if let Some(came) = ready!(between.as_mut().poll(rules, course, cx)) {
                        return Poll::Ready(came);
                    }
                    let request = course.next(rules);
                    let future = course.service.call(request);
                    this.state.set(State::Calling { future });
                    continue;
                }
                (StateProj::Between { .. }, None) => unreachable!("who is between two attempts may try again"),
            };
            if let Some(came) = self.as_mut().judge(came) {
                return Poll::Ready(came);
            }
        }
    }

    /// What the caller gets of an attempt at a request that may be sent again; `None` if there may be another attempt.
    #[inline(never)]
    fn judge(self: Pin<&mut Self>, came: Result<Response<R>, S::Error>) -> Option<<Self as Future>::Output> {
        let mut this = self.project();
        let rules = &*this.waiting.rules;
        let Some(course) = this.course else { unreachable!("who comes here may try again") };
        if came.as_ref().is_ok_and(outcome::is_timeout) {
            course.stop_the_clock();
        }
        let outcome = match &came {
            Ok(answer) => outcome::of_answer(course.policy(rules), answer, course.is_grpc()),
            Err(error) => outcome::of_error(rules.classify.failure(error)),
        };
        if course.is_to_be_counted(&outcome) {
            rules.budget.deposit();
        }
        let between = match came {
            Ok(answer) if matches!(outcome, Outcome::Unsaid) && course.may_go_on(rules) => Between::peek(answer),
            came => match course.go_on(rules, &outcome, came.is_ok()) {
                None => return Some(came.map(|answer| answer.map(ResponseBody::untouched))),
                Some(pause) => Between::let_go(came, pause, rules, course),
            },
        };
        this.state.set(State::Between { between: Box::pin(between) });
        None
    }
}

impl<S, C, B, R> fmt::Debug for ResponseFuture<S, C, B, R>
where
    S: Service<Request<RequestBody<B>>>,
    R: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

// ===== impl Between =====

impl<R: Body> Between<R> {
    /// What the caller gets; `None` if it is time for another attempt, and the service ready.
    fn poll<S, C, B, E>(
        mut self: Pin<&mut Self>,
        rules: &Rules<C>,
        course: &mut Course<S, B, E>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Response<ResponseBody<R>>, E>>>
    where
        S: Service<Request<RequestBody<B>>, Error = E>,
        B: Body,
    {
        loop {
            let next = match self.as_mut().project() {
                BetweenProj::Peeking { head, body, patience } => {
                    let came = match body.as_mut().expect("it is here until it is returned").as_mut().poll_frame(cx) {
                        Poll::Ready(came) => Some(came),
                        Poll::Pending => {
                            ready!(patience.poll(cx));
                            None
                        }
                    };
                    let outcome = of_first(came.as_ref());
                    let pause = course.go_on(rules, &outcome, true);
                    let (Some(mut head), Some(body)) = (head.take(), body.take()) else {
                        unreachable!("both were here just now")
                    };
                    let Some(pause) = pause else {
                        let body = ResponseBody::looked_at(came, body);
                        return Poll::Ready(Some(Ok(Response::from_parts(*head, body))));
                    };
                    // What was looked at stands in the head from now on, as in an answer of trailers only.
                    if let Some(Some(Ok(frame))) = came
                        && let Ok(trailers) = frame.into_trailers()
                    {
                        head.headers.extend(trailers);
                    }
                    course.last = Some(Box::new(Ok(*head)));
                    Self::pause(Instant::now() + pause, Some(Whole::<R>::new()))
                }
                BetweenProj::LettingGo { drain, resume } => {
                    let whole = ready!(drain.poll(cx));
                    Self::pause(*resume, whole)
                }
                BetweenProj::Pausing { sleep, whole } => {
                    // One that is over is none: the timer's next tick would be up to a millisecond away.
                    if sleep.deadline() > Instant::now() {
                        ready!(sleep.poll(cx));
                    }
                    Self::Readying { deadline: course.deadline().map(sleep_until), whole: whole.take() }
                }
                BetweenProj::Readying { deadline, whole } => {
                    // The deadline first: a service that is ready at that very moment is ready too late.
                    let why = if deadline.as_pin_mut().is_some_and(|deadline| deadline.poll(cx).is_ready()) {
                        GaveUp::Deadline
                    } else if ready!(course.service.poll_ready(cx)).is_err() {
                        GaveUp::Unready
                    } else {
                        return Poll::Ready(None);
                    };
                    let last = course.settle_for_last(rules, why, whole.is_none());
                    let body = ResponseBody::whole(whole.take().unwrap_or_default());
                    return Poll::Ready(Some(last.map(|head| Response::from_parts(head, body))));
                }
            };
            self.set(next);
        }
    }

    fn peek(answer: Response<R>) -> Self {
        let (head, body) = answer.into_parts();
        Self::Peeking { head: Some(Box::new(head)), body: Some(Box::pin(body)), patience: sleep(PATIENCE) }
    }

    /// The failed answer is let go before the pause, or it would keep its connection.
    fn let_go<S, C, B: Body, E>(
        came: Result<Response<R>, E>,
        pause: Duration,
        rules: &Rules<C>,
        course: &mut Course<S, B, E>,
    ) -> Self {
        let resume = Instant::now() + pause;
        let (head, body) = match came {
            Ok(answer) => answer.into_parts(),
            Err(error) => {
                course.last = Some(Box::new(Err(error)));
                return Self::pause(resume, None);
            }
        };
        let is_worth_it = Drain::pays(head.version, &body) && course.can_spare(rules, PATIENCE, pause);
        course.last = Some(Box::new(Ok(head)));
        if is_worth_it {
            Self::LettingGo { drain: Drain::new(body, PATIENCE), resume }
        } else {
            Self::pause(resume, body.is_end_stream().then(Whole::<R>::new))
        }
    }

    fn pause(until: Instant, whole: Option<Whole<R>>) -> Self {
        Self::Pausing { sleep: sleep_until(until), whole }
    }
}

/// What the first frame of a gRPC answer says.
fn of_first<D, E>(came: Option<&Option<Result<http_body::Frame<D>, E>>>) -> Outcome {
    match came {
        Some(Some(Ok(frame))) => frame.trailers_ref().map_or(Outcome::Answered, outcome::of_trailers),
        _ => Outcome::Answered,
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
