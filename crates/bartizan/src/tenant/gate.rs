//! Who is let in, and as whom.

use super::{
    event::{Assurance, Event},
    id::TenantId,
    known::{Anonymous, Tenant, TenantSet},
    lookup::{CachedDirectory, LookUp, Verdict},
    refused::{Answers, Refused},
    source::{Head, Named, Source},
};
use crate::shared::{Deadline, Notes, Said, with_head};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use std::{fmt, sync::Arc};
use tracing::{Span, level_filters::LevelFilter};

/// All that a request is held against.
#[derive(Clone)]
pub(super) struct Gate {
    source: Source,
    pub(super) missing: Missing,
    pub(super) known: Known,
    pub(super) admits_when_down: bool,
    pub(super) forwarded_as: Option<HeaderName>,
    pub(super) answers: Answers,
    pub(super) observer: Option<Arc<Observer>>,
}

type Observer = dyn Fn(&Event<'_>) + Send + Sync;

#[derive(Clone, Debug)]
pub(super) enum Missing {
    Refuse,
    Default(Tenant),
    Anonymous,
}

#[derive(Clone, Debug)]
pub(super) enum Known {
    All,
    Set(TenantSet),
    Directory(CachedDirectory),
}

/// What the head alone tells.
pub(super) enum Decision {
    Admit { tenant: Tenant, assurance: Assurance, stripped: Option<Box<Uri>> },
    Waive,
    Refuse(Refused),
    Ask { verdict: BoxFuture<'static, Verdict>, stripped: Option<Box<Uri>> },
}

// ===== impl Gate =====

impl Gate {
    /// Refuses those who name nobody, and takes everybody else for known.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            missing: Missing::Refuse,
            known: Known::All,
            admits_when_down: false,
            forwarded_as: None,
            answers: Answers::new(),
            observer: None,
        }
    }

    pub(super) fn decide_on<B>(&self, request: &mut Request<B>) -> Decision {
        if self.source.wants_heads() {
            return with_head(request, |head| self.decide((&*head).into()));
        }
        self.decide((&*request).into())
    }

    /// The tenant of a fixed set that a request with these fields names, as most do, if none of them is to be set to it.
    ///
    /// Its name is all of the only field. What the set holds is valid, so nothing else needs a look.
    #[inline(never)]
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<&Tenant> {
        let (Known::Set(tenants), None) = (&self.known, &self.forwarded_as) else { return None };
        tenants.find(self.source.only_field(headers)?.as_bytes())
    }

    fn decide(&self, head: Head<'_>) -> Decision {
        let Named { name, stripped } = match self.source.read(head) {
            Ok(Some(named)) => named,
            Ok(None) => return self.decide_without_tenant(),
            Err(refused) => return Decision::Refuse(refused),
        };
        let tenant = match &self.known {
            Known::Set(tenants) => {
                let Some(tenant) = tenants.find(&name) else { return Decision::Refuse(Refused::Unknown) };
                return Decision::Admit { tenant: tenant.clone(), assurance: Assurance::Known, stripped };
            }
            Known::All => Ok((TenantId::of_valid(&name).into(), Assurance::Unverified)),
            Known::Directory(directory) => match directory.look_up(&name, Deadline::of(head.extensions)) {
                LookUp::Done(verdict) => self.judge(verdict),
                LookUp::UnderWay(verdict) => return Decision::Ask { verdict, stripped },
            },
        };
        match tenant {
            Ok((tenant, assurance)) => Decision::Admit { tenant, assurance, stripped },
            Err(refused) => Decision::Refuse(refused),
        }
    }

    fn decide_without_tenant(&self) -> Decision {
        match &self.missing {
            Missing::Refuse => Decision::Refuse(Refused::Missing),
            Missing::Anonymous => Decision::Waive,
            Missing::Default(tenant) => {
                Decision::Admit { tenant: tenant.clone(), assurance: Assurance::Known, stripped: None }
            }
        }
    }

    pub(super) fn judge(&self, verdict: Verdict) -> Result<(Tenant, Assurance), Refused> {
        match verdict {
            Verdict::Known(tenant) => Ok((tenant, Assurance::Known)),
            Verdict::Stale(tenant) => Ok((tenant, Assurance::Stale)),
            Verdict::Unknown => Err(Refused::Unknown),
            Verdict::Down(id) if self.admits_when_down => Ok((id.into(), Assurance::Unverified)),
            Verdict::Down(_) | Verdict::Unheard => Err(Refused::DirectoryUnavailable),
        }
    }

    /// Lets the request in for the tenant that was decided on.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, tenant: Tenant, assurance: Assurance) {
        if let Some(name) = &self.forwarded_as {
            // The alphabet of ids is one of fields too.
            if let Ok(value) = HeaderValue::from_str(tenant.id()) {
                request.headers_mut().insert(name, value);
            }
        }
        self.enter(request, tenant, assurance);
    }

    /// The same, where no field is to be set. Those are not touched here: a request whose fields may be written to out of line
    /// is copied once more on its way to the service.
    #[inline(never)]
    pub(super) fn enter<B>(&self, request: &mut Request<B>, tenant: Tenant, assurance: Assurance) {
        if let Some(notes) = Notes::of(request.extensions()) {
            notes.tenant(tenant.tenant_id().shared());
        }
        if LevelFilter::current() != LevelFilter::OFF {
            record(&tenant);
        }
        self.tell(&Event::Admitted { tenant: &tenant, assurance });
        request.extensions_mut().insert(tenant);
    }

    pub(super) fn waive<B>(&self, request: &mut Request<B>) {
        if let Some(name) = &self.forwarded_as {
            request.headers_mut().remove(name);
        }
        self.tell(&Event::Anonymous);
        request.extensions_mut().insert(Anonymous);
    }

    #[cold]
    pub(super) fn refuse<B>(&self, refused: Refused, mut request: Request<B>) -> Box<Response<Said>> {
        self.tell(&Event::Refused(refused));
        Box::new(self.answers.respond(refused, &mut request))
    }

    #[inline]
    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

/// Apart, so that those whom nobody traces have no room made for it.
#[inline(never)]
fn record(tenant: &Tenant) {
    Span::current().record("tenant_id", tenant.id());
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("source", &self.source)
            .field("missing", &self.missing)
            .field("known", &self.known)
            .field("admits_when_down", &self.admits_when_down)
            .finish_non_exhaustive()
    }
}
