//! The decision alone, without a request round it: its time over few and many keys, and the memory it takes.

use crate::time::{median, thread_time};
use bartizan_store::{Charge, Key, Memory, PolicyName, Quota, Throttle};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use std::{
    fs,
    future::Future,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    pin::pin,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    /// Ours, made for a million keys.
    Memory,
    /// governor's map, which grows.
    Governor,
    /// No store: one atomic addition in an array of a million cache lines, which is what the machine takes at least to
    /// change anything in so much memory.
    Array,
}

/// Asks for one client, and says whether it may pass.
type Decide = Box<dyn Fn(IpAddr) -> bool>;

const ROUNDS: usize = 41;
const DECISIONS: u32 = 100_000;

const MILLION: u32 = 1_000_000;
const FLOOD: u32 = 10 * MILLION;
const DAY: Duration = Duration::from_secs(86_400);

/// The time of one decision, in nanoseconds, when so many keys are known and come in no order.
pub(crate) fn decide(store: Store, keys: u32) -> String {
    let decide = store.ample();
    (0..keys).for_each(|client| assert!(decide(address(client)), "nobody is refused"));
    let mut rounds = Vec::new();
    let mut client = 0;
    for _ in 0..ROUNDS {
        let start = thread_time();
        for _ in 0..DECISIONS {
            // A large prime as the stride: each address comes before any comes twice, and neighbours never in turn.
            client = (client + 611_953) % keys;
            black_box(decide(black_box(address(client))));
        }
        rounds.push((thread_time() - start).as_secs_f64() * 1e9 / f64::from(DECISIONS));
    }
    format!("{:.1}", median(&mut rounds))
}

/// What the store takes for a million keys, and for ten million that come once each; and whether it still knows, after
/// all of them, who had used up his quota before.
pub(crate) fn flood(store: Store) -> Result<String, String> {
    let before = resident()?;
    let decide = store.scant();
    let empty = resident()?;
    let limited = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    assert!(decide(limited), "the first request passes");
    (0..MILLION).for_each(|client| {
        decide(address(client));
    });
    let million = resident()?;
    (MILLION..FLOOD).for_each(|client| {
        decide(address(client));
    });
    let flooded = resident()?;
    let remembered = if decide(limited) { "no" } else { "yes" };
    let per_key = million.saturating_sub(before) / u64::from(MILLION);
    let mib = |bytes: u64| bytes.saturating_sub(before) >> 20;
    Ok(format!("{per_key} {} {} {} {remembered}", mib(empty), mib(million), mib(flooded)))
}

fn address(client: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + client).into()
}

/// The memory that this process holds, in bytes.
fn resident() -> Result<u64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| "/proc/self/status names no VmRSS".to_owned())
}

// ===== impl Store =====

impl Store {
    /// With a quota that nobody uses up.
    fn ample(self) -> Decide {
        match self {
            Self::Memory => memory(Quota::per_second(1_000_000_000)),
            Self::Array => array(),
            Self::Governor => keyed(governor::Quota::per_second(NonZeroU32::MAX)),
        }
    }

    /// With a quota of one in a day.
    fn scant(self) -> Decide {
        match self {
            Self::Memory => memory(Quota::per_day(1)),
            Self::Array => array(),
            Self::Governor => keyed(governor::Quota::with_period(DAY).expect("a day is not nothing")),
        }
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "memory" => Ok(Self::Memory),
            "array" => Ok(Self::Array),
            "governor" => Ok(Self::Governor),
            _ => Err(format!("no store is called {name:?}: there are memory, governor and array")),
        }
    }
}

fn memory(quota: Quota) -> Decide {
    let memory = Memory::for_keys(usize::try_from(MILLION).unwrap_or(usize::MAX));
    let policy = PolicyName::new("default");
    Box::new(move |client| {
        let key = Key::ip(client);
        let deciding = pin!(memory.decide(&[Charge { policy: &policy, key: &key, quota, cost: 1 }]));
        match deciding.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decision) => decision.is_ok_and(|decision| decision.is_admitted()),
            Poll::Pending => false,
        }
    })
}

fn keyed(quota: governor::Quota) -> Decide {
    let limiter: DefaultKeyedRateLimiter<IpAddr> = RateLimiter::keyed(quota);
    Box::new(move |client| limiter.check_key(&client).is_ok())
}

fn array() -> Decide {
    let lines: Vec<Line> = (0..MILLION).map(|_| Line::default()).collect();
    Box::new(move |client| {
        let IpAddr::V4(client) = client else { return false };
        // Scattered, as a hash would; odd, so that no two keys meet in few lines.
        let index = client.to_bits().wrapping_mul(0x9e37_79b1) % MILLION;
        let line = &lines[usize::try_from(index).unwrap_or_default()].0;
        line.fetch_add(1, Ordering::Relaxed);
        true
    })
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);
