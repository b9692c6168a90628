//! May a response be stored (RFC 9111 §3)?

use super::{
    Arrival, CachePolicy, ContentRange, NotStored, Reach, ResponseDirectives, Terms, Vary,
    lifetime::{Lifetime, is_heuristically_cacheable},
    targeted,
};
use http::{
    HeaderMap, HeaderName, Method, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_LOCATION, COOKIE, HOST, SET_COOKIE},
};
use smallvec::SmallVec;

/// What storing looks at of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Asked<'a> {
    pub(in crate::cache) method: &'a Method,
    pub(in crate::cache) target: &'a Uri,
    pub(in crate::cache) headers: &'a HeaderMap,
    /// Whether its `Cache-Control` says so.
    pub(in crate::cache) no_store: bool,
}

/// What is kept of a response that is stored, beside the response.
#[derive(Clone, Debug)]
pub(in crate::cache) struct Kept {
    pub(in crate::cache) terms: Terms,
    /// Fields that are not stored, since `private` or `no-cache` names them.
    pub(in crate::cache) omit: SmallVec<[HeaderName; 2]>,
    pub(in crate::cache) vary: Vary,
}

/// Whether the response to a request may be stored, and on which terms it is reused.
///
/// The first reason that keeps it from being stored is told; what the policy does not allow counts like what the RFC does
/// not. `vary` reads what the response's `Vary` says, which counts only for what nothing else forbids.
pub(in crate::cache) fn storable(
    policy: &CachePolicy,
    asked: Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    vary: impl FnOnce() -> Vary,
    arrival: &Arrival,
) -> Result<Kept, NotStored> {
    check_request(policy, asked)?;
    check_status(policy, asked.method, status, headers)?;
    let directives = targeted::directives(policy, headers);
    check_directives(&directives, status)?;
    let omit = omitted(&directives);
    check_sharing(policy, &directives, asked, headers, &omit)?;
    // RFC 9111 §4.1: no request selects it.
    let vary = vary();
    if policy.varies_behind(&vary) {
        return Err(NotStored::VaryAny);
    }
    let lifetime = Lifetime::read(policy, &directives, status, headers, arrival);
    check_freshness(policy, &directives, lifetime, status)?;
    if *asked.method == Method::POST && !answers_get(asked, lifetime, headers) {
        return Err(NotStored::Method);
    }
    let terms = Terms::new(policy, &directives, lifetime, headers, arrival);
    // What can be used neither as it is, nor stale, nor after validation, is not worth its place.
    if terms.horizon() <= arrival.received {
        return Err(match lifetime {
            _ if terms.no_cache => NotStored::NoCache,
            Lifetime::Unknown => NotStored::NoFreshness,
            Lifetime::Explicit(_) | Lifetime::Listed(_) | Lifetime::Heuristic(_) => NotStored::Stale,
        });
    }
    Ok(Kept { terms, omit, vary })
}

/// RFC 9111 §3: the method has to be understood. §5.2.1.5: `no-store` of a request is about its response too; the safe
/// policy heeds it as well, since it costs the origin nothing.
fn check_request(policy: &CachePolicy, asked: Asked<'_>) -> Result<(), NotStored> {
    match *asked.method {
        // A `QUERY` comes here only if what it asks for is part of the key (RFC 10008 §2.7).
        Method::GET | Method::HEAD | Method::QUERY => {}
        Method::POST if policy.post => {}
        _ => return Err(NotStored::Method),
    }
    if asked.no_store {
        return Err(NotStored::RequestNoStore);
    }
    Ok(())
}

/// RFC 9111 §3: the status is final; 206 and 304 only by who understands them, and a 304 is no response of its own.
///
/// 412 and 416 answer a condition or a range of this request, which is no part of the key. RFC 6585: 428, 429, 431 and 511
/// are never stored.
fn check_status(
    policy: &CachePolicy,
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(), NotStored> {
    match status.as_u16() {
        100..=199 | 304 | 412 | 416 | 428 | 429 | 431 | 511 => Err(NotStored::Status),
        206 if !policy.parts || *method != Method::GET => Err(NotStored::Status),
        206 if !is_part(headers) => Err(NotStored::Part),
        _ => Ok(()),
    }
}

/// RFC 9111 §3: neither `no-store` nor, for a shared cache, `private`. §5.2.2.3: with `must-understand`, the status has to be
/// understood, and if it is, `no-store` is not meant for this cache.
fn check_directives(directives: &ResponseDirectives, status: StatusCode) -> Result<(), NotStored> {
    if directives.must_understand && !is_understood(status) {
        return Err(NotStored::NotUnderstood);
    }
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if directives.private == Reach::Whole {
        return Err(NotStored::Private);
    }
    Ok(())
}

/// RFC 9111 §3.5: a response to a request with `Authorization` is for others only if it says so. Cookies are not the RFC's
/// concern (§7.3 leaves them to the origin), but the policy's.
fn check_sharing(
    policy: &CachePolicy,
    directives: &ResponseDirectives,
    asked: Asked<'_>,
    headers: &HeaderMap,
    omit: &[HeaderName],
) -> Result<(), NotStored> {
    if asked.headers.contains_key(AUTHORIZATION) && !directives.share_authorized() {
        return Err(NotStored::Authorization);
    }
    let for_all = directives.public || directives.s_maxage.is_some();
    if !policy.cookie && asked.headers.contains_key(COOKIE) && !for_all {
        return Err(NotStored::Cookie);
    }
    let sets = headers.contains_key(SET_COOKIE) && !omit.contains(&SET_COOKIE);
    if !policy.set_cookie && sets && !directives.public {
        return Err(NotStored::SetCookie);
    }
    Ok(())
}

/// RFC 9111 §3: there is an explicit lifetime, or `public`, or a status that is cacheable without. The last is enough for a
/// cache that takes what says nothing for fresh sometimes, and for a response that is validated each time.
fn check_freshness(
    policy: &CachePolicy,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    status: StatusCode,
) -> Result<(), NotStored> {
    let by_status = policy.heuristic.is_some() || directives.no_cache == Reach::Whole;
    if lifetime != Lifetime::Unknown || directives.public || (by_status && is_heuristically_cacheable(status)) {
        Ok(())
    } else if status.is_server_error() {
        Err(NotStored::Status)
    } else {
        Err(NotStored::NoFreshness)
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7: fields that `no-cache` names are not reused without validation, those that `private` names
/// are not stored by a shared cache. Both are left away, which serves both.
fn omitted(directives: &ResponseDirectives) -> SmallVec<[HeaderName; 2]> {
    let mut omit = SmallVec::from(directives.private.fields());
    omit.extend(
        directives.no_cache.fields().iter().filter(|name| !directives.private.fields().contains(name)).cloned(),
    );
    omit
}

/// The statuses of RFC 9110: what they ask of a cache is done here. (305 and 306 are no longer in use; 206 and 304 come here
/// only if they may be stored.)
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 307 | 308 | 400..=411 | 413..=415 | 417 | 421 | 422 | 426 | 500..=505
    )
}

/// RFC 9111 §3.3: one range of bytes that makes sense, and as much content as it says. Without a strong validator it
/// answers by itself, and is not combined with others (§3.4).
fn is_part(headers: &HeaderMap) -> bool {
    ContentRange::read(headers).is_some_and(|said| {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        length.is_none_or(|length| length == said.range.end - said.range.start)
    })
}

/// RFC 9110 §9.3.3: the response to a `POST` answers a later `GET` if it says how long it is fresh, and `Content-Location`
/// names the URL that the `POST` was for.
fn answers_get(asked: Asked<'_>, lifetime: Lifetime, headers: &HeaderMap) -> bool {
    let mut locations = headers.get_all(CONTENT_LOCATION).into_iter();
    let (Some(location), None) = (locations.next(), locations.next()) else { return false };
    let Ok(location) = Uri::try_from(location.as_bytes()) else { return false };
    let explicit = matches!(lifetime, Lifetime::Explicit(span) if !span.is_zero());
    explicit && asked.is_named_by(&location)
}

// ===== impl Asked =====

impl Asked<'_> {
    /// Whether a reference, absolute or without an authority, is the target. (What would first have to be resolved against the
    /// target's path is not: a service that means this can write it down.)
    fn is_named_by(&self, location: &Uri) -> bool {
        if location.path_and_query() != self.target.path_and_query() || !location.path().starts_with('/') {
            return false;
        }
        let Some(authority) = location.authority() else { return true };
        let schemes = (location.scheme(), self.target.scheme());
        let same_scheme = schemes.1.is_none() || schemes.0 == schemes.1;
        let host = self.headers.get(HOST).map(http::HeaderValue::as_bytes);
        let own = self.target.authority().map(|authority| authority.as_str().as_bytes()).or(host);
        same_scheme && own.is_some_and(|own| own.eq_ignore_ascii_case(authority.as_str().as_bytes()))
    }
}

#[cfg(test)]
#[path = "tests/storing.rs"]
mod tests;
