//! How the body of a request goes on its way to the service, at the pace of a client.

use crate::Cause;
use axum::BoxError;
use bartizan::{Deadline, End, ResponseBody, Watch};
use bytes::Bytes;
use http::{Extensions, request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How the body of a request goes: a service answers for the time in which it takes nothing, and for that after the last
/// byte, and for no byte that never came.
///
/// In the extensions of a request it says that its body comes as fast as a client sends it, and that its sender watches
/// that it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    course: Arc<Course>,
    /// That of the request, before there was one made of what an upload may take.
    pub(crate) deadline: Option<Deadline>,
    /// What its service has in all.
    pub(crate) allowance: Option<Allowance>,
}

/// For how long a service may let everybody wait at a stretch, from an instant on at the earliest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    from: Instant,
    time: Duration,
}

#[derive(Debug)]
struct Course {
    taken: Mutex<Taken>,
    /// Told when it is the service's turn again.
    turned: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    /// When the last byte was taken.
    last: Instant,
    /// Since when it is for the service to go on: to take more of the body, or to answer. `None` while it waits for the
    /// client.
    service_since: Option<Instant>,
    end: Option<End>,
    /// Why the body broke off, if it did.
    broke: Option<Cause>,
}

pin_project! {
    /// The body of a request, which tells its [`Upload`] how it goes.
    pub(crate) struct Uploading<B> {
        #[pin]
        body: ResponseBody<B, Upload>,
        upload: Upload,
    }
}

/// How long a request may take in all while its body comes at the pace of a client.
const LONGEST: Duration = Duration::from_secs(60 * 60);

// ===== impl Upload =====

impl Upload {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let taken = Mutex::new(Taken { last: now, service_since: Some(now), end: None, broke: None });
        Self { course: Arc::new(Course { taken, turned: Notify::new() }), deadline: None, allowance: None }
    }

    /// The body, which tells of itself from now on.
    pub(crate) fn watch<B: Body>(&self, body: B) -> Uploading<B> {
        Uploading { body: ResponseBody::inner(body).watched_by(self.clone()), upload: self.clone() }
    }

    /// That of the request with these extensions, if its body still is on its way.
    pub(crate) fn under_way(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Self>().filter(|upload| !upload.is_handed_over())
    }

    /// The limit of a request with this head, in the place of the usual one, while its body is on its way.
    pub(crate) fn limit(head: &request::Parts) -> Option<Duration> {
        Self::under_way(&head.extensions).map(|_| LONGEST)
    }

    /// Whether it is the client's fault that the body has no end.
    pub(crate) fn failed(&self) -> bool {
        self.lock().end == Some(End::Failed)
    }

    /// Why the body broke off, if it did. A service that speaks HTTP/2 loses that on the way.
    pub(crate) fn broke(&self) -> Option<Cause> {
        self.lock().broke
    }

    /// Whether the service has all of the body, or wants no more of it.
    fn is_handed_over(&self) -> bool {
        matches!(self.lock().end, Some(End::Complete | End::Dropped))
    }

    /// Somebody else is asked now, who has not yet begun to read.
    pub(crate) fn ask(&self) {
        self.turn(true);
    }

    /// When all that the service has for the request with these extensions is over, if nobody takes any more of its body.
    pub(crate) fn end(extensions: &Extensions) -> Option<Deadline> {
        let upload = extensions.get::<Self>()?;
        let since = upload.service_since().unwrap_or_else(Instant::now);
        upload.allowance.map(|allowance| Deadline::at(allowance.end(since)))
    }

    /// Since when it is for the service to go on. `None` while it waits for the client.
    pub(crate) fn service_since(&self) -> Option<Instant> {
        self.lock().service_since
    }

    /// Ends when the service has let everybody wait for so long: it has taken nothing of the body, or has had all of it.
    /// Never, if the client breaks off.
    pub(crate) async fn waits_for_service(self, allowance: Allowance) {
        loop {
            let turned = self.course.turned.notified();
            let since = self.service_since();
            let Some(since) = since else {
                turned.await;
                continue;
            };
            let over = allowance.end(since);
            if over <= Instant::now() {
                return;
            }
            // Whatever happens until then can only make it later.
            sleep_until(over).await;
        }
    }

    /// Whose turn it is from now on, if it was not before.
    fn turn(&self, is_services: bool) {
        let mut taken = self.lock();
        if taken.end.is_some() {
            return;
        }
        if !is_services {
            taken.service_since = None;
        } else if taken.service_since.is_none() {
            taken.service_since = Some(Instant::now());
            drop(taken);
            self.course.turned.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.course.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Allowance =====

impl Allowance {
    /// From now on.
    pub(crate) fn of(time: Duration) -> Self {
        Self { from: Instant::now(), time }
    }

    /// When it is over for a service that lets everybody wait `since` then.
    fn end(self, since: Instant) -> Instant {
        since.max(self.from).checked_add(self.time).unwrap_or_else(|| Deadline::after(self.time).instant())
    }
}

/// Ends when there has been no progress for `limit`, with what there is to take of a request, or at the deadline, and says
/// which.
pub(crate) async fn stalls(upload: Option<Upload>, limit: Duration, deadline: Option<Deadline>) -> Cause {
    let began = Instant::now();
    let last = || upload.as_ref().map_or(began, |upload| upload.lock().last);
    let deadline = deadline.map(Deadline::instant);
    loop {
        let stalled = last().checked_add(limit).unwrap_or_else(|| Deadline::after(limit).instant());
        sleep_until(deadline.map_or(stalled, |deadline| deadline.min(stalled))).await;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Cause::Deadline;
        }
        if last().checked_add(limit).is_some_and(|stalled| stalled <= Instant::now()) {
            return Cause::Timeout;
        }
    }
}

impl Watch for Upload {
    fn data(&mut self, _: usize) {
        let mut taken = self.lock();
        let now = Instant::now();
        let was_clients = taken.service_since.replace(now).is_none();
        taken.last = now;
        drop(taken);
        if was_clients {
            self.course.turned.notify_waiters();
        }
    }

    fn end(self, end: End) {
        let now = Instant::now();
        // A client that has gone is nobody's to wait for.
        let service_since = (end != End::Failed).then_some(now);
        *self.lock() = Taken { last: now, service_since, end: Some(end), broke: None };
        self.course.turned.notify_waiters();
    }
}

// ===== impl Uploading =====

impl<B> Body for Uploading<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        this.upload.turn(polled.is_ready());
        polled.map_err(|error| {
            let error: BoxError = error.into();
            this.upload.lock().broke = Some(Cause::of_send(&*error));
            error
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
