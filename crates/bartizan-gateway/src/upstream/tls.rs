//! Connections with TLS, by rustls.

use super::{
    connection::{CONNECT, Protocol},
    tcp::tcp,
};
use axum::BoxError;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

pub(super) const HAS_TLS: bool = true;

pub(super) type Trust = Tls;

/// Whom an [`Upstream`](crate::Upstream) trusts over TLS, and who it is itself.
///
/// Nothing is trusted that is not said here: neither the machine's own store of certificates nor a variable of the
/// environment changes it.
///
/// ```no_run
/// use bartizan_gateway::{Tls, Upstream};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::only(&std::fs::read("our-ca.pem")?)?;
/// let orders = Upstream::new("orders", ["https://orders.internal:8443"])?.tls(tls);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    roots: RootCertStore,
    identity: Option<Arc<Identity>>,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A certificate or a key that can't be used.
#[derive(Debug)]
pub struct TlsError {
    what: &'static str,
    source: Option<BoxError>,
}

/// TCP, and then TLS where the scheme asks for it, within their time.
#[derive(Clone)]
pub(super) struct Connector(HttpsConnector<HttpConnector>);

// ===== impl Tls =====

impl Tls {
    /// Trusts whom browsers trust: the authorities of Mozilla's list, as it was when the crate `webpki-roots` was built.
    #[must_use]
    pub fn public() -> Self {
        Self { roots: RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, identity: None }
    }

    /// Trusts these certificates, in PEM, and no others.
    ///
    /// # Errors
    /// If there is none among them, or one that is no authority's.
    pub fn only(pem: &[u8]) -> Result<Self, TlsError> {
        Self { roots: RootCertStore::empty(), identity: None }.trust(pem)
    }

    /// Trusts these certificates, in PEM, as well.
    ///
    /// # Errors
    /// If there is none among them, or one that is no authority's.
    pub fn trust(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        for certificate in certificates(pem)? {
            self.roots.add(certificate).map_err(|error| TlsError::new("a certificate can't be trusted", error))?;
        }
        Ok(self)
    }

    /// Shows this certificate, in PEM with those that vouch for it, to an endpoint that asks who is calling.
    ///
    /// # Errors
    /// If they are no certificate and its key.
    pub fn identity(mut self, chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::new("there is no key", error))?;
        self.identity = Some(Arc::new(Identity { chain, key }));
        self.config()?;
        Ok(self)
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions that rustls takes for safe")
            .with_root_certificates(self.roots.clone());
        match self.identity.as_deref() {
            None => Ok(config.with_no_client_auth()),
            Some(Identity { chain, key }) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| TlsError::new("the key is not that of the certificate", error)),
        }
    }
}

/// As [`public`](Tls::public).
impl Default for Tls {
    fn default() -> Self {
        Self::public()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("roots", &self.roots.len()).field("identity", &self.identity.is_some()).finish()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::new("it is not PEM", error))?;
    if all.is_empty() {
        return Err(TlsError { what: "there is no certificate in it", source: None });
    }
    Ok(all)
}

// ===== impl Connector =====

pub(super) fn connector(tls: &Tls, protocol: Protocol) -> Connector {
    let mut tcp = tcp();
    tcp.enforce_http(false);
    let config = tls.config().expect("an identity is checked when it is given");
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Connector(match protocol {
        Protocol::Negotiated => builder.enable_all_versions().wrap_connector(tcp),
        Protocol::Http2 => builder.enable_http2().wrap_connector(tcp),
    })
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        // TCP has a limit of its own, so this leaves as much for the handshake.
        Box::pin(async move { timeout(2 * CONNECT, connecting).await.unwrap_or_else(|_| Err(too_slow())) })
    }
}

fn too_slow() -> BoxError {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long").into()
}

// ===== impl TlsError =====

impl TlsError {
    fn new(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self { what, source: Some(source.into()) }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
