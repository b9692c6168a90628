//! A copy of a request's head, from which further attempts are made.

use super::{attempt::Attempt, policy::RetryPolicy};
use crate::shared::{Context, Deadline, PeerAddr};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use std::mem;

/// What every attempt begins with. The copy is made before the first one, which has the head itself; the last attempt
/// takes the copy, and copies nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    /// The fields in their order: a list, as most are never asked for, with where the name of each ends.
    fields: Vec<(usize, HeaderValue)>,
    /// The names, one after the other. To share one that is not of a standard would cost an allocation.
    names: Vec<u8>,
    extensions: Carried,
}

/// The extensions, all of them: an attempt must see what the first one saw.
///
/// Those that are ours are held as they are. Only if there are others too is the whole map copied, which costs an
/// allocation for each of them.
#[derive(Clone, Debug, Default)]
struct Carried {
    peer: Option<PeerAddr>,
    deadline: Option<Deadline>,
    attempt: Option<Attempt>,
    /// Its own policy, which is large and rare.
    policy: Option<Box<RetryPolicy>>,
    context: Option<Context>,
    whole: Option<Extensions>,
}

// ===== impl Head =====

impl Head {
    /// Makes this the head of `request`.
    #[inline]
    pub(super) fn copy<B>(&mut self, request: &Request<B>) {
        let headers = request.headers();
        self.method.clone_from(request.method());
        self.uri.clone_from(request.uri());
        self.version = request.version();
        self.fields.reserve(headers.len());
        for (name, value) in headers {
            self.names.extend_from_slice(name.as_str().as_bytes());
            self.fields.push((self.names.len(), value.clone()));
        }
        if !request.extensions().is_empty() {
            self.extensions = Carried::of(request.extensions());
        }
    }

    /// Which attempt it was that came to us, and its deadline.
    #[inline]
    pub(super) fn prior(&self) -> (Option<Attempt>, Option<Deadline>) {
        match &self.extensions.whole {
            None => (self.extensions.attempt, self.extensions.deadline),
            Some(whole) => (whole.get().copied(), Deadline::of(whole)),
        }
    }

    /// A request with this head, of which nothing is left here.
    pub(super) fn take<B>(&mut self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = mem::take(&mut self.method);
        *request.uri_mut() = mem::take(&mut self.uri);
        *request.version_mut() = self.version;
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        let mut start = 0;
        for (end, value) in self.fields.drain(..) {
            let name = HeaderName::from_bytes(&self.names[start..end]).expect("it was the name of a field");
            headers.append(name, value);
            start = end;
        }
        self.names.clear();
        *request.headers_mut() = headers;
        *request.extensions_mut() = mem::take(&mut self.extensions).into_map();
        request
    }

    /// Empties it for another request; its list keeps its place, unless that is unusually large.
    #[inline]
    pub(super) fn clear(&mut self) {
        const USUAL: usize = 64;
        self.fields.clear();
        self.names.clear();
        if self.fields.capacity() > USUAL {
            (self.fields, self.names) = (Vec::new(), Vec::new());
        }
        self.uri = Uri::default();
        self.extensions = Carried::default();
    }
}

// ===== impl Carried =====

impl Carried {
    fn of(extensions: &Extensions) -> Self {
        let mut carried = Self::default();
        let mut others = extensions.len();
        // The usual ones first: most requests have no more than those.
        let ours: [fn(&mut Self, &Extensions) -> bool; 5] = [
            |carried, given| copied(&mut carried.peer, given.get()),
            |carried, given| copied(&mut carried.deadline, given.get()),
            |carried, given| copied(&mut carried.context, given.get()),
            |carried, given| copied(&mut carried.attempt, given.get()),
            |carried, given| {
                copied(&mut carried.policy, given.get::<RetryPolicy>().map(|policy| Box::new(*policy)).as_ref())
            },
        ];
        for copy in ours {
            others -= usize::from(copy(&mut carried, extensions));
            if others == 0 {
                return carried;
            }
        }
        Self { whole: Some(extensions.clone()), ..Self::default() }
    }

    fn into_map(self) -> Extensions {
        let mut map = self.whole.unwrap_or_default();
        self.peer.map(|peer| map.insert(peer));
        self.deadline.map(|deadline| map.insert(deadline));
        self.attempt.map(|attempt| map.insert(attempt));
        self.policy.map(|policy| map.insert(*policy));
        self.context.map(|context| map.insert(context));
        map
    }
}

fn copied<T: Clone>(to: &mut Option<T>, from: Option<&T>) -> bool {
    *to = from.cloned();
    to.is_some()
}
