//! A copy of a request's extensions.

use super::{attempt::Attempt, policy::RetryPolicy};
use crate::shared::{Context, Deadline, PeerAddr};
use http::Extensions;
use std::{any::TypeId, fmt};

/// The extensions, all of them: an attempt must see what the first one saw.
///
/// Those that are ours are held as they are, and of others those that the layer was told of. Only if there are more is
/// the whole map copied, which costs an allocation for each of them, and one for itself.
#[derive(Clone, Default)]
pub(super) struct Carried {
    peer: Option<PeerAddr>,
    deadline: Option<Deadline>,
    attempt: Option<Attempt>,
    /// Its own policy, which is large and rare.
    policy: Option<Box<RetryPolicy>>,
    context: Option<Context>,
    others: Vec<Box<dyn Other>>,
    whole: Option<Extensions>,
}

/// How an extension of one type is taken along that is not ours.
#[derive(Clone, Copy)]
pub(super) struct Carry {
    id: TypeId,
    copy: fn(&Extensions) -> Option<Box<dyn Other>>,
}

/// An extension that is not ours.
trait Other: Send + Sync {
    fn copy(&self) -> Box<dyn Other>;

    fn give(self: Box<Self>, to: &mut Extensions);
}

struct One<T>(T);

// ===== impl Carried =====

impl Carried {
    /// Makes these the extensions that are `given`. There are none before.
    #[inline]
    pub(super) fn copy(&mut self, given: &Extensions, carry: &[Carry]) {
        // Many requests have an address and no more.
        let others = given.len() - usize::from(copied(&mut self.peer, given.get()));
        if others > 0 {
            self.copy_others(given, others, carry);
        }
    }

    #[inline(never)]
    fn copy_others(&mut self, given: &Extensions, mut others: usize, carry: &[Carry]) {
        // The usual ones first.
        let ours: [fn(&mut Self, &Extensions) -> bool; 4] = [
            |carried, given| copied(&mut carried.deadline, given.get()),
            |carried, given| copied(&mut carried.context, given.get()),
            |carried, given| copied(&mut carried.attempt, given.get()),
            |carried, given| {
                copied(&mut carried.policy, given.get::<RetryPolicy>().map(|policy| Box::new(*policy)).as_ref())
            },
        ];
        for copy in ours {
            others -= usize::from(copy(self, given));
            if others == 0 {
                return;
            }
        }
        self.others.extend(carry.iter().filter_map(|carry| (carry.copy)(given)));
        if self.others.len() == others {
            return;
        }
        *self = Self { whole: Some(given.clone()), ..Self::default() };
    }

    /// Which attempt it was that came to us, and its deadline.
    #[inline]
    pub(super) fn prior(&self) -> (Option<Attempt>, Option<Deadline>) {
        match &self.whole {
            None => (self.attempt, self.deadline),
            Some(whole) => (whole.get().copied(), Deadline::of(whole)),
        }
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        let Self { peer, deadline, attempt, policy, context, others, whole } = self;
        (*peer, *deadline, *attempt) = (None, None, None);
        (*policy, *context, *whole) = (None, None, None);
        others.clear();
    }

    pub(super) fn into_map(self) -> Extensions {
        let mut map = self.whole.unwrap_or_default();
        self.peer.map(|peer| map.insert(peer));
        self.deadline.map(|deadline| map.insert(deadline));
        self.attempt.map(|attempt| map.insert(attempt));
        self.policy.map(|policy| map.insert(*policy));
        self.context.map(|context| map.insert(context));
        for other in self.others {
            other.give(&mut map);
        }
        map
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

fn copied<T: Clone>(to: &mut Option<T>, from: Option<&T>) -> bool {
    *to = from.cloned();
    to.is_some()
}

// ===== impl Carry =====

impl Carry {
    /// Takes along extensions of this type, unless that is one of ours.
    pub(super) fn of<T: Clone + Send + Sync + 'static>() -> Option<Self> {
        let id = TypeId::of::<T>();
        let ours = [
            TypeId::of::<PeerAddr>(),
            TypeId::of::<Deadline>(),
            TypeId::of::<Attempt>(),
            TypeId::of::<RetryPolicy>(),
            TypeId::of::<Context>(),
        ];
        let copy: fn(&Extensions) -> Option<Box<dyn Other>> =
            |given| given.get::<T>().map(|extension| Box::new(One(extension.clone())) as _);
        (!ours.contains(&id)).then_some(Self { id, copy })
    }

    pub(super) fn is_same(self, other: Self) -> bool {
        self.id == other.id
    }
}

// ===== impl Other =====

impl<T: Clone + Send + Sync + 'static> Other for One<T> {
    fn copy(&self) -> Box<dyn Other> {
        Box::new(Self(self.0.clone()))
    }

    fn give(self: Box<Self>, to: &mut Extensions) {
        to.insert(self.0);
    }
}

impl Clone for Box<dyn Other> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Theirs(u32);
    #[derive(Clone, Debug, PartialEq)]
    struct More(u32);

    /// What is there after a copy, whatever is taken along: ours, theirs, more; and whether the map was copied for it.
    fn copied(given: &Extensions, carry: &[Carry]) -> (bool, bool, bool, bool, usize) {
        let mut carried = Carried::default();
        carried.copy(given, carry);
        assert_eq!(carried.prior(), (given.get().copied(), Deadline::of(given)));
        let is_whole = carried.whole.is_some();
        let map = carried.clone().into_map();
        assert_eq!(map.get::<Theirs>(), given.get());
        assert_eq!(map.get::<More>(), given.get());
        carried.clear();
        assert!(carried.into_map().is_empty());
        let (peer, attempt) = (map.get::<PeerAddr>().is_some(), map.get::<Attempt>().is_some());
        (peer, attempt, map.get::<Theirs>().is_some(), is_whole, map.len())
    }

    #[test]
    fn every_extension_is_carried_and_the_map_is_copied_only_for_those_unknown() {
        let carry = [Carry::of::<Theirs>().expect("it is not ours")];
        for which in 0..16_u32 {
            let mut given = Extensions::new();
            let has = |bit: u32| which & 1 << bit != 0;
            has(0).then(|| given.insert(PeerAddr(([192, 0, 2, 1], 1).into())));
            has(1).then(|| given.insert(Attempt::new(2)));
            has(2).then(|| given.insert(Theirs(7)));
            has(3).then(|| given.insert(More(8)));
            let all = (has(0), has(1), has(2), has(3), given.len());
            assert_eq!(copied(&given, &carry), all, "{which:04b}");
            let none_known = (has(0), has(1), has(2), has(2) || has(3), given.len());
            assert_eq!(copied(&given, &[]), none_known, "{which:04b}");
        }
    }

    #[test]
    fn ours_are_not_taken_along_twice() {
        assert!(Carry::of::<Deadline>().is_none() && Carry::of::<Context>().is_none());
    }
}
