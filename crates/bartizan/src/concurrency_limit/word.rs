//! Who may enter: how many are in, how many may be, and whether somebody waits, in one word.

/// What a gate knows of itself, small enough for one atomic.
///
/// While somebody waits, nobody enters past them: as many are in as may be, or more after a shrink. The bit that says so
/// stands above the number of those who are in, so that they look like more than any limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

const WAITING: u64 = 1 << 31;
const LIMIT_SHIFT: u32 = 32;
/// The highest limit: two thousand million.
pub(super) const MOST: u32 = (1 << 31) - 1;

impl Word {
    /// Nobody is in, nobody waits. A limit above [`MOST`] counts as that.
    pub(super) fn new(limit: u32) -> Self {
        Self(u64::from(limit.min(MOST)) << LIMIT_SHIFT)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn limit(self) -> u32 {
        u32::try_from(self.0 >> LIMIT_SHIFT).expect("32 bits")
    }

    pub(super) fn in_flight(self) -> u32 {
        u32::try_from(self.0 & (WAITING - 1)).expect("31 bits")
    }

    pub(super) fn has_waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    /// One more, if there is room. While somebody waits there is none.
    #[inline]
    pub(super) fn enter(self) -> Option<Self> {
        let in_or_waiting = self.0 & u64::from(u32::MAX);
        (in_or_waiting < self.0 >> LIMIT_SHIFT).then_some(Self(self.0 + 1))
    }

    /// One less, unless somebody waits and has to be asked.
    #[inline]
    pub(super) fn leave(self) -> Option<Self> {
        (!self.has_waiting()).then_some(Self(self.0 - 1))
    }

    /// One leaves while somebody waits: `None` if the permit goes to them, and as many are in as before.
    pub(super) fn leave_to_waiting(self) -> Option<Self> {
        (self.in_flight() > self.limit()).then_some(Self(self.0 - 1))
    }

    pub(super) fn waiting(self, somebody: bool) -> Self {
        Self(if somebody { self.0 | WAITING } else { self.0 & !WAITING })
    }

    /// Another limit, and how many of those who wait enter by it.
    pub(super) fn resize(self, limit: u32, waiting: usize) -> (Self, u32) {
        let in_flight = self.in_flight();
        let room = limit.min(MOST).saturating_sub(in_flight);
        let entering = u32::try_from(waiting).unwrap_or(u32::MAX).min(room);
        let word = Self(Self::new(limit).0 + u64::from(in_flight) + u64::from(entering));
        (word.waiting(waiting > entering as usize), entering)
    }
}
