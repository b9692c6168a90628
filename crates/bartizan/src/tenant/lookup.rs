//! Asking a directory seldom: its answers kept, and one question per tenant at a time.

use super::{
    directory::{Answer, Directory},
    id::TenantId,
    known::Tenant,
};
use crate::shared::{Deadline, THIRTY_YEARS};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use moka::sync::Cache;
use std::{
    collections::HashMap,
    error::Error,
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};

/// A directory whose answers are kept for a while. A clone shares what is kept.
///
/// By default a found tenant stands for 60 seconds and an unknown name for 10; up to 10 000 of each are kept, apart
/// from each other, so that a flood of invented names pushes out no known tenant. An answer may take 2 seconds. Errors
/// are never kept.
///
/// Requests for one tenant share one question: a hundred that arrive together are one. The question goes on as long as
/// one of them waits, whoever came first or goes away. At most 256 questions are under way at once; a request that would
/// ask one more, or whose [`Deadline`] passes first, is refused; while the directory is known to be down, a last answer
/// [stands](Self::stale_if_error) for it, too.
///
/// Set everything before the first clone: a clone that is set differently decides differently over the same memory.
#[derive(Clone)]
pub struct CachedDirectory {
    ask: Arc<Ask>,
    terms: Terms,
    memory: Arc<Memory>,
}

type Ask = dyn Fn(TenantId) -> BoxFuture<'static, Result<Answer, Box<dyn Error + Send + Sync>>> + Send + Sync;

#[derive(Clone, Copy, Debug)]
struct Terms {
    found_for: Duration,
    unknown_for: Duration,
    stale_if_error: Duration,
    timeout: Duration,
    at_once: usize,
}

/// What is known of one name.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Known(Tenant),
    /// Was known, and the directory can't tell whether it still is.
    Stale(Tenant),
    Unknown,
    /// The directory can't tell.
    Down(TenantId),
    /// The directory was not heard: too many ask already, or the request has no time left. A client can bring about
    /// either, so nobody is ever let in for it.
    Unheard,
}

/// A look-up that was answered from memory, or one that must be waited for.
pub(super) enum LookUp {
    Done(Verdict),
    UnderWay(BoxFuture<'static, Verdict>),
}

struct Memory {
    found: Cache<TenantId, Found>,
    /// Until when nobody has these names.
    unknown: Cache<TenantId, Instant>,
    questions: Mutex<Questions>,
    is_down: AtomicBool,
}

#[derive(Clone)]
struct Found {
    tenant: Tenant,
    until: Instant,
}

/// The questions under way. Whoever waits for one holds it up; the map alone does not.
#[derive(Default)]
struct Questions {
    by_id: HashMap<TenantId, (u64, WeakShared<BoxFuture<'static, Verdict>>)>,
    asked: u64,
}

/// Takes a question off the map when it is answered, or when nobody waits for it any more.
struct UnderWay {
    memory: Arc<Memory>,
    id: TenantId,
    number: u64,
}

// ===== impl CachedDirectory =====

impl CachedDirectory {
    /// Keeps the answers of `directory`.
    #[must_use]
    pub fn new(directory: impl Directory) -> Self {
        let directory = Arc::new(directory);
        Self {
            ask: Arc::new(move |id| {
                let directory = Arc::clone(&directory);
                Box::pin(async move { directory.look_up(id).await.map_err(Into::into) })
            }),
            terms: Terms {
                found_for: Duration::from_secs(60),
                unknown_for: Duration::from_secs(10),
                stale_if_error: Duration::ZERO,
                timeout: Duration::from_secs(2),
                at_once: 256,
            },
            memory: Arc::new(Memory::new(10_000)),
        }
    }

    /// How long a found tenant stands before it is asked for again. So long may a tenant that was removed get in.
    #[must_use]
    pub fn found_for(mut self, time: Duration) -> Self {
        self.terms.found_for = time.min(THIRTY_YEARS);
        self
    }

    /// How long an unknown name stands before it is asked for again. So long may a new tenant be kept out.
    #[must_use]
    pub fn unknown_for(mut self, time: Duration) -> Self {
        self.terms.unknown_for = time.min(THIRTY_YEARS);
        self
    }

    /// Lets a found tenant stand for so much longer while the directory is down. Zero by default.
    ///
    /// It is down from an error, or from an answer that did not come within the [`timeout`](Self::timeout), until the next
    /// answer. A [`Deadline`] that ends before that proves nothing: let the timeout be shorter than those of most requests.
    #[must_use]
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.terms.stale_if_error = time.min(THIRTY_YEARS);
        self
    }

    /// How long the directory may take to answer.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.terms.timeout = time;
        self
    }

    /// How many tenants may be asked for at once.
    #[must_use]
    pub fn at_once(mut self, questions: usize) -> Self {
        self.terms.at_once = questions;
        self
    }

    /// How many found tenants are kept, and how many unknown names. Forgets what was kept before.
    #[must_use]
    pub fn capacity(mut self, entries: u64) -> Self {
        self.memory = Arc::new(Memory::new(entries));
        self
    }

    /// Forgets what was answered about this tenant, and what is about to be: the next request asks again.
    ///
    /// For when a tenant has been removed or its plan has changed, and waiting for the time to pass won't do.
    pub fn forget(&self, name: &str) {
        let mut questions = self.memory.questions();
        questions.by_id.remove(name.as_bytes());
        self.memory.found.invalidate(name.as_bytes());
        self.memory.unknown.invalidate(name.as_bytes());
    }

    #[cfg(test)]
    pub(super) fn questions_under_way(&self) -> usize {
        self.memory.questions().by_id.len()
    }

    /// What is known of `name`, which must be valid.
    pub(super) fn look_up(&self, name: &[u8], deadline: Option<Deadline>) -> LookUp {
        let now = Instant::now();
        if let Some(verdict) = self.memory.recall(name, now) {
            return LookUp::Done(verdict);
        }
        let id = TenantId::of_valid(name);
        let question = {
            let mut questions = self.memory.questions();
            // It may have been answered since we looked.
            if let Some(verdict) = self.memory.recall(name, now) {
                return LookUp::Done(verdict);
            }
            match questions.find(name) {
                Some(question) => question,
                None if questions.by_id.len() >= self.terms.at_once => return LookUp::Done(self.unheard(name)),
                None => questions.open(&id, |number| self.clone().question(id.clone(), number).boxed().shared()),
            }
        };
        let Some(deadline) = deadline else { return LookUp::UnderWay(question.boxed()) };
        let (directory, id) = (self.clone(), id);
        LookUp::UnderWay(Box::pin(async move {
            let answer = timeout_at(deadline.instant(), question).await;
            answer.unwrap_or_else(|_| directory.unheard(id.as_str().as_bytes()))
        }))
    }

    /// Asks, and keeps the answer. Polled by whoever waits for it; taken off the map also if nobody ever does.
    fn question(self, id: TenantId, number: u64) -> impl Future<Output = Verdict> + Send {
        let under_way = UnderWay { memory: Arc::clone(&self.memory), id, number };
        self.ask_and_keep(under_way)
    }

    async fn ask_and_keep(self, under_way: UnderWay) -> Verdict {
        let id = under_way.id.clone();
        // A directory that panics is one that is down; the panic itself has been reported by then.
        let asked = AssertUnwindSafe((self.ask)(id.clone())).catch_unwind();
        let answer = match timeout(self.terms.timeout, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("it panicked".into()),
            Err(_) => Err("it did not answer in time".into()),
        };
        match answer {
            Ok(answer) => {
                self.memory.report_up();
                self.keep(&under_way, answer)
            }
            Err(error) => {
                self.memory.report_down(&*error);
                self.last_answer(id.as_str().as_bytes()).unwrap_or(Verdict::Down(id))
            }
        }
    }

    fn keep(&self, under_way: &UnderWay, answer: Answer) -> Verdict {
        let now = Instant::now();
        let UnderWay { memory, id, .. } = under_way;
        let questions = memory.questions();
        // Not if it has been forgotten meanwhile: what we were told may be older than that.
        let is_current = questions.is_current(under_way);
        match answer.into_data() {
            Some(data) => {
                let tenant = Tenant::new(id.clone(), data);
                if is_current {
                    memory.unknown.invalidate(id);
                    let found = Found { tenant: tenant.clone(), until: now + self.terms.found_for };
                    memory.found.insert(id.clone(), found);
                }
                Verdict::Known(tenant)
            }
            None => {
                if is_current {
                    memory.found.invalidate(id);
                    memory.unknown.insert(id.clone(), now + self.terms.unknown_for);
                }
                Verdict::Unknown
            }
        }
    }

    /// What there is for a request that can't wait for an answer: the last one, if there would be no other.
    fn unheard(&self, name: &[u8]) -> Verdict {
        let is_down = self.memory.is_down.load(Ordering::Relaxed);
        is_down.then(|| self.last_answer(name)).flatten().unwrap_or(Verdict::Unheard)
    }

    /// The last good answer, if it may still stand.
    fn last_answer(&self, name: &[u8]) -> Option<Verdict> {
        let found = self.memory.found.get(name)?;
        (Instant::now() < found.until + self.terms.stale_if_error).then_some(Verdict::Stale(found.tenant))
    }
}

impl fmt::Debug for CachedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDirectory").field("terms", &self.terms).finish_non_exhaustive()
    }
}

// ===== impl Memory =====

impl Memory {
    fn new(entries: u64) -> Self {
        Self {
            found: Cache::new(entries),
            unknown: Cache::new(entries),
            questions: Mutex::default(),
            is_down: AtomicBool::new(false),
        }
    }

    /// What was answered about this name and still stands.
    fn recall(&self, name: &[u8], now: Instant) -> Option<Verdict> {
        if let Some(found) = self.found.get(name).filter(|found| now < found.until) {
            return Some(Verdict::Known(found.tenant));
        }
        self.unknown.get(name).filter(|&until| now < until).map(|_| Verdict::Unknown)
    }

    /// Held for a few lines. The map is whole between any two of them, so a panic elsewhere does it no harm.
    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_down(&self, error: &(dyn Error + Send + Sync)) {
        if !self.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the tenant directory is down; this is said once until it answers again");
        }
    }

    fn report_up(&self) {
        if self.is_down.load(Ordering::Relaxed) && self.is_down.swap(false, Ordering::Relaxed) {
            tracing::info!("the tenant directory answers again");
        }
    }
}

// ===== impl Questions =====

impl Questions {
    fn find(&self, name: &[u8]) -> Option<Shared<BoxFuture<'static, Verdict>>> {
        self.by_id.get(name)?.1.upgrade()
    }

    fn open(
        &mut self,
        id: &TenantId,
        ask: impl FnOnce(u64) -> Shared<BoxFuture<'static, Verdict>>,
    ) -> Shared<BoxFuture<'static, Verdict>> {
        self.asked += 1;
        let question = ask(self.asked);
        if let Some(weak) = question.downgrade() {
            self.by_id.insert(id.clone(), (self.asked, weak));
        }
        question
    }

    fn is_current(&self, question: &UnderWay) -> bool {
        self.by_id.get(&question.id).is_some_and(|(number, _)| *number == question.number)
    }
}

// ===== impl UnderWay =====

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut questions = self.memory.questions();
        if questions.is_current(self) {
            questions.by_id.remove(&self.id);
        }
    }
}
