//! Bodies that are read more than once, against the body itself.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use super::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

/// What a body does, step by step.
#[derive(Clone, Debug)]
enum Step {
    Data(Vec<u8>),
    Trailers,
    Pause,
    Fail,
}

#[derive(Debug)]
struct Scripted {
    steps: VecDeque<Step>,
    exact: bool,
    polls: Arc<Mutex<usize>>,
}

fn body(steps: impl IntoIterator<Item = Step>) -> Scripted {
    Scripted { steps: steps.into_iter().collect(), exact: true, polls: Arc::default() }
}

fn kept<B: Body>(body: B, most: usize, memory: &ReplayMemory) -> (RequestBody<B>, Replay<B>) {
    let mut replay = Replay::empty();
    (replay.keep(body, most, memory), replay)
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))])
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        *self.polls.lock().unwrap() += 1;
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
            Some(Step::Fail) => Poll::Ready(Some(Err(io::Error::other("cut")))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        let rest = self.steps.iter().map(bytes).sum();
        if self.exact { SizeHint::with_exact(rest) } else { SizeHint::new() }
    }
}

/// What came out of one reader.
#[derive(Debug, Default, PartialEq)]
struct Read {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    error: Option<String>,
    is_over: bool,
}

impl Read {
    /// Polls once. What was read and what is said to come must always be the same in all.
    fn poll(&mut self, body: &mut Pin<Box<RequestBody<Scripted>>>, waker: &Waker) -> bool {
        let (before, said) = (self.bytes.len() as u64, body.size_hint().exact());
        let came = body.as_mut().poll_frame(&mut Context::from_waker(waker));
        let Poll::Ready(came) = came else { return false };
        match came {
            None => self.is_over = true,
            Some(Err(error)) => (self.error, self.is_over) = (Some(error.to_string()), true),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self.bytes.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
        }
        if let (Some(said), Some(says), None) = (said, body.size_hint().exact(), &self.error) {
            assert_eq!(before + said, self.bytes.len() as u64 + says, "a size hint is off");
        }
        true
    }

    fn all(body: RequestBody<Scripted>) -> Self {
        let (mut read, mut body) = (Self::default(), Box::pin(body));
        for _ in 0..10_000 {
            if read.is_over {
                return read;
            }
            read.poll(&mut body, Waker::noop());
        }
        panic!("the body has no end")
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Data),
        2 => Just(Step::Pause),
    ];
    (prop::collection::vec(step, 0..20), any::<bool>()).prop_map(|(mut steps, ends_with_trailers)| {
        steps.extend(ends_with_trailers.then_some(Step::Trailers));
        steps
    })
}

/// What any reader of these steps should see.
fn whole(steps: &[Step]) -> Read {
    let mut read = Read { is_over: true, ..Read::default() };
    for step in steps {
        match step {
            Step::Data(data) => read.bytes.extend_from_slice(data),
            Step::Trailers => read.trailers = Some(trailers()),
            Step::Pause | Step::Fail => {}
        }
    }
    read
}

/// How many bytes are in these steps, and how many what holds them takes besides: place for four frames, doubled when
/// it is full.
fn size(steps: &[Step]) -> (usize, usize) {
    let frames = steps.iter().filter(|step| matches!(step, Step::Data(_))).count();
    let held = if frames == 0 { 0 } else { frames.next_power_of_two().max(4) };
    let expected = whole(steps);
    let fields = usize::from(expected.trailers.is_some());
    let of_field = std::mem::size_of::<(HeaderName, HeaderValue)>();
    (expected.bytes.len() + fields * 6, held * std::mem::size_of::<Bytes>() + fields * of_field)
}

#[derive(Default)]
struct Flag(Mutex<bool>);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
    }
}

proptest! {
    /// Whoever reads it, whenever they begin and whoever is ahead, reads the same; and the log returns its memory.
    #[test]
    fn every_reader_reads_the_body_whole(steps in steps(), turns in prop::collection::vec(0..3_usize, 0..200)) {
        let memory = ReplayMemory::new(1 << 20);
        let (first, replay) = kept(body(steps.clone()), 1 << 16, &memory);
        let mut readers = vec![(Read::default(), Box::pin(first)), (Read::default(), Box::pin(replay.read()))];
        for turn in turns {
            if turn == 2 && readers.len() < 4 {
                readers.push((Read::default(), Box::pin(replay.read())));
                continue;
            }
            let (read, body) = &mut readers[turn % 2];
            if !read.is_over {
                read.poll(body, Waker::noop());
            }
            prop_assert!(memory.used() <= 1 << 16);
        }
        let expected = whole(&steps);
        for (mut read, mut body) in readers {
            for _ in 0..1000 {
                if !read.is_over {
                    read.poll(&mut body, Waker::noop());
                }
            }
            prop_assert_eq!(&read, &expected);
            prop_assert!(body.is_end_stream());
        }
        prop_assert_eq!(Read::all(replay.read()), expected);
        drop(replay);
        prop_assert_eq!(memory.used(), 0);
    }

    /// The first attempt is let go after any number of polls; the next one reads all of it, and the first reads no more.
    #[test]
    fn an_attempt_that_takes_over_reads_the_body_whole(steps in steps(), polls in 0..30_usize) {
        let memory = ReplayMemory::new(1 << 20);
        let (first, replay) = kept(body(steps.clone()), 1 << 16, &memory);
        let was_empty = first.is_end_stream();
        let (mut read, mut first) = (Read::default(), Box::pin(first));
        for _ in 0..polls {
            if !read.is_over {
                read.poll(&mut first, Waker::noop());
            }
        }
        prop_assert!(replay.can_repeat(false));
        prop_assert!(replay.take_over(false));
        prop_assert_eq!(Read::all(replay.read()), whole(&steps));
        if !read.is_over && read.trailers.is_none() && !was_empty {
            while !read.poll(&mut first, Waker::noop()) {}
            prop_assert_eq!(read.error.as_deref(), Some("the request is being sent again"));
        }
        drop((first, replay));
        prop_assert_eq!(memory.used(), 0);
    }

    /// Over the cap, the body streams all the same; whether it can be sent again is known, and never wrongly so.
    #[test]
    fn what_is_over_a_cap_streams_and_is_not_repeated(
        steps in steps(), most in 0..200_usize, of_process in 0..1500_usize, exact in any::<bool>(),
    ) {
        let memory = ReplayMemory::new(of_process);
        let source = Scripted { exact, ..body(steps.clone()) };
        let (first, replay) = kept(source, most, &memory);
        let (mut read, mut first) = (Read::default(), Box::pin(first));
        let expected = whole(&steps);
        for _ in 0..1000 {
            if !read.is_over {
                read.poll(&mut first, Waker::noop());
            }
            prop_assert!(memory.used() <= of_process);
        }
        prop_assert_eq!(&read, &expected);
        let (bytes, besides) = size(&steps);
        if bytes <= most && bytes + besides <= of_process {
            prop_assert!(replay.can_repeat(true));
        }
        if expected.bytes.len() > most {
            prop_assert!(!replay.can_repeat(true));
        }
        if replay.can_repeat(true) {
            prop_assert!(replay.take_over(true));
            prop_assert_eq!(Read::all(replay.read()), expected);
        }
        drop((first, replay));
        prop_assert_eq!(memory.used(), 0);
    }
}

fn data(text: &str) -> Step {
    Step::Data(text.into())
}

#[test]
fn an_empty_body_is_empty_for_every_attempt_and_needs_no_log() {
    let memory = ReplayMemory::new(0);
    let (first, replay) = kept(body([]), 0, &memory);
    for body in [first, replay.read(), replay.read()] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(Read::all(body), whole(&[]));
    }
    assert!(replay.can_repeat(false) && replay.can_repeat(true));
}

#[test]
fn bytes_are_kept_by_reference() {
    let source = Bytes::from_static(b"the same bytes");
    let log = kept(http_body_util::Full::new(source.clone()), 100, &ReplayMemory::new(1000));
    let (first, replay) = log;
    for body in [first, replay.read()] {
        let mut body = Box::pin(body);
        let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) else {
            panic!("it is there")
        };
        assert_eq!(frame.into_data().unwrap().as_ptr(), source.as_ptr());
    }
}

#[test]
fn what_is_known_to_be_too_long_can_be_sent_again_only_while_it_is_untouched() {
    let memory = ReplayMemory::new(1000);
    let (first, replay) = kept(body([data("four"), data("four")]), 7, &memory);
    // A server that was asked with `Expect: 100-continue` and answered at once has not taken any of it.
    assert!(replay.can_repeat(false) && replay.can_repeat(true));
    let mut first = Box::pin(first);
    assert!(Read::default().poll(&mut first, Waker::noop()));
    assert_eq!(memory.used(), 0);
    assert!(!replay.can_repeat(false) && !replay.can_repeat(true));
}

#[test]
fn a_body_that_is_half_read_can_be_sent_again_after_an_error_and_not_after_an_answer() {
    let (first, replay) = kept(body([data("one"), data("two")]), 100, &ReplayMemory::new(1000));
    let mut first = Box::pin(first);
    Read::default().poll(&mut first, Waker::noop());
    assert!(replay.can_repeat(false));
    assert!(!replay.can_repeat(true));
    Read::default().poll(&mut first, Waker::noop());
    assert!(replay.can_repeat(true), "it was read, though nobody has asked for the end");
}

/// It was untouched when the answer was judged, and too long when the next attempt should have had it.
#[test]
fn an_attempt_that_has_read_on_meanwhile_is_left_alone() {
    let (first, replay) = kept(body([data("four"), data("four")]), 7, &ReplayMemory::new(1000));
    let mut first = Box::pin(first);
    assert!(replay.can_repeat(true));
    let mut read = Read::default();
    read.poll(&mut first, Waker::noop());
    assert!(!replay.take_over(true) && !replay.take_over(false));
    read.poll(&mut first, Waker::noop());
    assert_eq!((read.bytes.as_slice(), read.error), (b"fourfour".as_slice(), None), "it reads on to the end");
}

#[test]
fn a_body_that_broke_cannot_be_sent_again_and_every_reader_is_told() {
    let (first, replay) = kept(body([data("one"), Step::Fail]), 100, &ReplayMemory::new(1000));
    let second = replay.read();
    let read = Read::all(first);
    assert_eq!((read.bytes, read.error.as_deref()), (b"one".to_vec(), Some("the request's body broke off")));
    assert!(!replay.can_repeat(false) && !replay.can_repeat(true));
    assert!(Read::all(second).error.is_some(), "a body that broke must not look like one that ended");
}

#[test]
fn the_source_of_an_error_is_what_the_body_said() {
    let (first, _replay) = kept(body([Step::Fail]), 100, &ReplayMemory::new(1000));
    let mut first = Box::pin(first);
    let Poll::Ready(Some(Err(error))) = first.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) else {
        panic!("it fails")
    };
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "cut");
}

/// A body that comes when it is sent.
struct Channel(tokio::sync::mpsc::Receiver<()>);

impl Body for Channel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|came| came.map(|()| Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// The reader that polled the body last may be dropped: what wakes the body must wake the other one.
#[test]
fn a_reader_is_woken_when_the_one_who_drove_the_body_is_gone() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<()>(1);
    let (first, replay) = kept(Channel(receiver), 100, &ReplayMemory::new(1000));
    let (mut first, mut second) = (Box::pin(first), Box::pin(replay.read()));
    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(second.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
    assert!(first.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(first);
    sender.try_send(()).unwrap();
    assert!(*woken.0.lock().unwrap());
    assert!(second.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_ready());
}

/// A body that says nothing for long, polled by a task that is moved about, must not fill the memory with wakers.
#[test]
fn a_reader_has_one_waker_and_takes_it_along() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<()>(1);
    let (first, replay) = kept(Channel(receiver), 100, &ReplayMemory::new(1000));
    let (mut first, mut second) = (Box::pin(first), Box::pin(replay.read()));
    let wakers: Vec<_> = (0..20).map(|_| Arc::new(Flag::default())).collect();
    let kept = || wakers.iter().filter(|flag| Arc::strong_count(flag) > 1).count();
    for (at, flag) in wakers.iter().enumerate() {
        let body = if at % 2 == 0 { &mut first } else { &mut second };
        assert!(body.as_mut().poll_frame(&mut Context::from_waker(&Waker::from(Arc::clone(flag)))).is_pending());
    }
    assert_eq!(kept(), 2, "one of each reader");
    drop(first);
    assert_eq!(kept(), 1);
    sender.try_send(()).unwrap();
    let woken: Vec<_> = wakers.iter().map(|flag| *flag.0.lock().unwrap()).collect();
    assert_eq!(woken.iter().filter(|woken| **woken).count(), 1);
    assert!(woken[19], "the one that polled last");
}

#[test]
fn a_reader_that_is_outrun_by_a_long_body_is_told() {
    let (first, replay) =
        kept(Scripted { exact: false, ..body([data("1234"), data("5678")]) }, 5, &ReplayMemory::new(1000));
    let mut second = Box::pin(replay.read());
    let mut read = Read::default();
    assert_eq!(Read::all(first), whole(&[data("1234"), data("5678")]));
    read.poll(&mut second, Waker::noop());
    assert_eq!(read.error.as_deref(), Some("the request's body is too long to be read by two attempts"));
}

#[test]
fn two_that_read_side_by_side_read_all_of_it_when_nobody_will_begin_any_more() {
    let steps = [data("one"), data("two"), data("six")];
    for read_before in 0..3 {
        let memory = ReplayMemory::new(1000);
        let (first, replay) = kept(body(steps.clone()), 50, &memory);
        let mut bodies = [first, replay.read()].map(Box::pin);
        let mut reads = [Read::default(), Read::default()];
        for _ in 0..read_before {
            for (read, body) in reads.iter_mut().zip(&mut bodies) {
                read.poll(body, Waker::noop());
            }
        }
        drop(replay);
        for (mut read, mut body) in reads.into_iter().zip(bodies) {
            while !read.is_over {
                read.poll(&mut body, Waker::noop());
            }
            assert_eq!(read, whole(&steps), "after {read_before}");
        }
        assert_eq!(memory.used(), 0);
    }
}

#[test]
fn a_stream_that_goes_on_after_the_answer_keeps_nothing() {
    let memory = ReplayMemory::new(1000);
    let (first, replay) = kept(Scripted { exact: false, ..body([data("one"), data("two"), data("six")]) }, 50, &memory);
    let (mut first, mut read) = (Box::pin(first), Read::default());
    read.poll(&mut first, Waker::noop());
    assert_eq!(memory.used(), 3 + 4 * std::mem::size_of::<Bytes>());
    drop(replay);
    assert_eq!(memory.used(), 0);
    read.poll(&mut first, Waker::noop());
    assert_eq!(memory.used(), 0);
    while !read.is_over {
        read.poll(&mut first, Waker::noop());
    }
    assert_eq!(read.bytes, b"onetwosix");
}

/// What a frame takes besides its bytes is taken too, or a cap on many tiny ones would be none.
#[test]
fn what_is_kept_of_tiny_frames_is_counted_with_what_holds_them() {
    for (frames, bytes) in
        [(1, "x"), (7, "x"), (500, "x"), (500, ""), (9, "a longer one than what holds it, which is 32")]
    {
        let memory = ReplayMemory::new(1 << 20);
        let (first, replay) = kept(body(std::iter::repeat_n(data(bytes), frames)), 1 << 16, &memory);
        Read::all(first);
        assert!(replay.can_repeat(false));
        let holds = std::mem::size_of::<Bytes>() * frames;
        let least = frames * bytes.len() + holds;
        // The list of them grows by doubling, and begins with four.
        assert!((least..=least + holds.max(4 * 32)).contains(&memory.used()), "{frames}: {} of {least}", memory.used());
        drop(replay);
        assert_eq!(memory.used(), 0);
    }
}

#[test]
fn what_holds_the_frames_finds_no_place_beyond_the_cap_of_all() {
    let memory = ReplayMemory::new(10_000);
    let (first, replay) = kept(body(std::iter::repeat_n(data(""), 1000)), 1 << 16, &memory);
    Read::all(first);
    assert!(!replay.can_repeat(false));
    assert_eq!(memory.used(), 0);
}

#[test]
fn tiny_frames_are_limited_in_their_number() {
    let memory = ReplayMemory::new(1 << 20);
    let many = std::iter::repeat_n(data("x"), 2000);
    let (first, replay) = kept(body(many), 64 * 64, &memory);
    assert_eq!(Read::all(first).bytes.len(), 2000);
    assert!(!replay.can_repeat(false));
    assert_eq!(memory.used(), 0);
}
