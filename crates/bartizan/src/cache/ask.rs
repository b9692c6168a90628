//! A request as the cache sees it: read once, in one pass over its fields.

use super::{key_rules::X_FORWARDED_PROTO, policy::RequestDirectives, query};
use http::{Method, Request, header};
use http_body::Body;

/// What the rules want to know of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) verb: Verb,
    has: u16,
    pub(super) directives: RequestDirectives,
}

/// What a method means to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Head,
    /// `QUERY`, whose content is in the key.
    Query,
    Post,
    /// Changes nothing, and is not answered from here.
    Safe,
    /// May change something, as every method may that nobody knows (RFC 9111 §4.4).
    Unsafe,
}

/// Something that a request has, or is.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub(super) enum Trait {
    Authorization = 1,
    Cookie = 1 << 1,
    /// `If-None-Match` or `If-Modified-Since`: a cache can tell.
    Condition = 1 << 2,
    /// `If-Match` or `If-Unmodified-Since`: only the origin can tell (RFC 9111 §4.3.2).
    Precondition = 1 << 3,
    Range = 1 << 4,
    /// Content where none is expected. What it means is not in the key.
    Content = 1 << 5,
    /// It asks for another protocol.
    Upgrade = 1 << 6,
    /// `X-Forwarded-Proto`, which most keys would look for.
    ForwardedProto = 1 << 7,
}

// ===== impl Ask =====

impl Ask {
    pub(super) fn read<B: Body>(request: &Request<B>) -> Self {
        let (mut has, mut directives) = (0, false);
        for name in request.headers().keys() {
            // A name that `http` knows is a number to it.
            has |= match *name {
                header::AUTHORIZATION => Trait::Authorization as u16,
                header::COOKIE => Trait::Cookie as u16,
                header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => Trait::Condition as u16,
                header::IF_MATCH | header::IF_UNMODIFIED_SINCE => Trait::Precondition as u16,
                header::RANGE => Trait::Range as u16,
                header::UPGRADE => Trait::Upgrade as u16,
                header::TRANSFER_ENCODING => Trait::Content as u16,
                header::CACHE_CONTROL | header::PRAGMA => {
                    directives = true;
                    0
                }
                _ if *name == X_FORWARDED_PROTO => Trait::ForwardedProto as u16,
                _ => 0,
            };
        }
        if !request.body().is_end_stream() {
            has |= Trait::Content as u16;
        }
        let directives =
            if directives { RequestDirectives::read(request.headers()) } else { RequestDirectives::default() };
        let verb = match Verb::of(request.method()) {
            Verb::Safe if query::is_read(request) => Verb::Query,
            verb => verb,
        };
        Self { verb, has, directives }
    }

    pub(super) fn has(self, what: Trait) -> bool {
        self.has & what as u16 != 0
    }

    /// The method, where a stored response could be the answer.
    pub(super) fn method(self) -> &'static Method {
        if self.verb == Verb::Head { &Method::HEAD } else { &Method::GET }
    }

    /// Whether a stored response could be the answer.
    pub(super) fn may_be_answered(self) -> bool {
        const NEVER: u16 = Trait::Precondition as u16 | Trait::Upgrade as u16;
        let never = match self.verb {
            Verb::Get | Verb::Head => NEVER | Trait::Content as u16,
            // Nobody has said what a range of it is.
            Verb::Query => NEVER | Trait::Range as u16,
            Verb::Post | Verb::Safe | Verb::Unsafe => return false,
        };
        self.has & never == 0
    }

    /// Whether it has to be known what it would be stored under: to look for it, or to take it back.
    pub(super) fn wants_key(self) -> bool {
        self.may_be_answered() || matches!(self.verb, Verb::Post | Verb::Unsafe)
    }

    /// The same without what concerns only the one who asks.
    pub(super) fn for_all(self) -> Self {
        let has = self.has & !(Trait::Range as u16 | Trait::Condition as u16);
        Self { has, directives: RequestDirectives::default(), ..self }
    }

    /// Whether the answer to another request can be one to this.
    pub(super) fn may_follow(self) -> bool {
        self.verb.gets() && !self.has(Trait::Authorization) && !self.directives.no_store
    }

    /// Whether others can wait for the answer to this request, and it for that to theirs.
    pub(super) fn may_share(self) -> bool {
        self.may_follow() && !self.has(Trait::Range)
    }
}

// ===== impl Verb =====

impl Verb {
    /// Whether it asks for content, and for nothing to be done.
    pub(super) fn gets(self) -> bool {
        matches!(self, Self::Get | Self::Query)
    }

    fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            _ if super::policy::is_safe(method) => Self::Safe,
            _ => Self::Unsafe,
        }
    }
}
