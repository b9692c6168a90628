//! The way of most requests: one policy that asks for no more than a key, in a store that answers at once.

use super::{
    fields::Members,
    head::Head,
    key::{KeyBy, of_header},
    limiter::{Asked, Judged, Limiter, Rendered, decided},
    policy::Policy,
    refusal::{Reason, retry_after},
    rules::{Due, NoKey, Rules},
};
use crate::shared::{Said, TrustedProxies};
use bartizan_store::{Charge, Key, PolicyName, Quota, Standing, Throttle};
use http::{HeaderMap, HeaderName, Request, Response};
use smallvec::{SmallVec, smallvec};
use std::{slice, sync::Arc};

/// How far the rules make a request go, at least. With a tag of its own, as each request reads it.
#[repr(u8)]
pub(super) enum Way {
    /// No further than to its peer's address, if that is at hand: an admitted one leaves nothing to do.
    Peer(Plain),
    /// As short, by this field.
    Field(HeaderName, Plain),
    /// There is one policy, which asks for no more than a key, and nobody waits.
    Plain(Plain),
    /// All the way: several policies, or one that asks for more.
    Long,
}

/// All that the rules say of such a request, in one place.
pub(super) struct Plain {
    name: PolicyName,
    quota: Quota,
    key: KeyBy,
    /// An admitted request leaves nothing to do, and of a refused one nobody hears but the client.
    is_silent: bool,
}

// ===== impl Plain =====

impl Plain {
    pub(super) fn new(rules: &Rules, policy: &Policy) -> Self {
        let is_watched = rules.settles() || rules.observe.is_some() || rules.fields.go_with_admitted();
        let is_silent = !is_watched && !rules.shadow && rules.on_refusal.is_none();
        Self { name: policy.name.clone(), quota: policy.quota, key: rules.key_by(policy).clone(), is_silent }
    }

    /// The shortest of ways.
    pub(super) fn way(self) -> Way {
        match self.key.field().cloned() {
            _ if !self.is_silent => Way::Plain(self),
            Some(name) => Way::Field(name, self),
            None if self.key.is_peer() => Way::Peer(self),
            None => Way::Plain(self),
        }
    }

    #[inline]
    fn charge<'a>(&'a self, key: &'a Key) -> Charge<'a> {
        Charge { policy: &self.name, key, quota: self.quota, cost: 1 }
    }
}

// ===== impl Limiter =====

impl<T: Throttle + Clone> Limiter<T> {
    /// Takes what a request costs, if its key is found at once, an admitted one leaves nothing to do, and the store answers
    /// at once. Short enough to be inlined where requests come in.
    #[inline(always)]
    pub(super) fn take<B>(&self, request: &Request<B>) -> Option<Result<(), Standing>> {
        // Either key stays where it was made: it is large.
        let (of_peer, of_field);
        let (plain, key) = match &self.shape.way {
            Way::Peer(plain) => {
                of_peer = Key::ip(TrustedProxies::peer_alone(request.extensions())?);
                (plain, &of_peer)
            }
            Way::Field(name, plain) => {
                of_field = of_header(request.headers(), name);
                (plain, of_field.as_ref()?)
            }
            Way::Plain(_) | Way::Long => return None,
        };
        self.store.take(&plain.charge(key))
    }

    /// Asks about a request with this head.
    #[inline]
    pub(super) fn ask_plainly(self: &Arc<Self>, plain: &Plain, head: &Head<'_>) -> Asked<T> {
        // Looked at where it lies: a key is large.
        let mut found = plain.key.read_in(head);
        if found.is_none() {
            found = match self.rules.missing.key_for(&self.rules.policies[0]) {
                Ok(key) => key,
                Err(NoKey) => return Asked::Judged(self.refuse(Reason::NoKey, None, SmallVec::new(), None)),
            };
        }
        let Some(key) = &found else { return Asked::Judged(self.exempt()) };
        let charge = plain.charge(key);
        if plain.is_silent
            && let Some(taken) = self.store.take(&charge)
        {
            return Asked::Judged(taken.map_or_else(Judged::Limit, |()| Judged::Pass));
        }
        let due = || Due { policy: 0, key: *key, quota: plain.quota, cost: 1 };
        match decided(self.store.decide(&[charge])) {
            Ok(decision) => Asked::Judged(self.judge(&[due()], decision)),
            Err(deciding) => Asked::Pending(Box::pin(Arc::clone(self).wait_for(smallvec![due()], deciding))),
        }
    }

    /// The response to a request that has to wait.
    #[inline(always)]
    pub(super) fn limit<B>(&self, standing: &Standing, request: &mut Request<B>) -> Response<Said> {
        let Rendered { refusals, members } = self.rendered();
        let retry_after = retry_after(standing.wait());
        refusals.by(0).respond_telling(request, Some(retry_after), |headers| {
            if self.rules.fields.go_with_refused() {
                self.tell(members, standing, retry_after, headers);
            }
        })
    }

    #[inline(never)]
    fn tell(&self, members: &Members, standing: &Standing, retry_after: u64, headers: &mut HeaderMap) {
        let policies = &*self.rules.policies;
        // Whose bucket it is, no field tells.
        let due = Due { policy: 0, key: Key::GLOBAL, quota: policies[0].quota, cost: 1 };
        if let Some(told) =
            self.rules.fields.tell(policies, members, &[due], slice::from_ref(standing), Some(retry_after))
        {
            told.write(headers);
        }
    }
}
