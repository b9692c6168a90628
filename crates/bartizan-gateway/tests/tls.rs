//! Upstreams over TLS: who is trusted, what is spoken, and who says who he is.

mod support;

use axum::{Router, extract::Request as Incoming};
use bartizan::retry::RetryPolicy;
use bartizan_gateway::{Cause, Tls, TlsError, Upstream};
use http::{StatusCode, Version};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use support::{upstream::*, *};
use tokio::time::Instant;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::PrivateKeyDer,
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
        version::{TLS12, TLS13},
    },
};

/// An authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Identity {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        Identity { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    /// Asks who is calling, and lets in whom this authority vouches for.
    fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier")
    }
}

/// Serves on a free port, as `localhost`, what the version of the request is, and its `TE`.
async fn secure(authority: &Authority, alpn: &[&str], asks: Option<Arc<dyn ClientCertVerifier>>) -> String {
    secure_by(ALL_VERSIONS, authority, alpn, asks).await
}

/// The same, by these versions of TLS.
async fn secure_by(
    versions: &[&'static SupportedProtocolVersion],
    authority: &Authority,
    alpn: &[&str],
    asks: Option<Arc<dyn ClientCertVerifier>>,
) -> String {
    let Identity { certificate, key } = authority.identity("localhost");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions");
    let config = match asks {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = config.with_single_cert(vec![certificate.der().clone()], key).expect("an identity");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let app = Router::new().fallback(async |request: Incoming| {
        let te = request.headers().get("te").map(|te| format!(" {}", te.to_str().expect("ASCII")));
        format!("{:?}{}", request.version(), te.unwrap_or_default())
    });
    let addr = raw(move |stream| {
        let (acceptor, app) = (acceptor.clone(), app.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let serving = auto::Builder::new(TokioExecutor::new());
            let _ = serving.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await;
        }
    })
    .await;
    format!("https://localhost:{}", addr.port())
}

fn at(url: &str) -> Upstream {
    Upstream::new("orders", [url]).expect("an endpoint")
}

#[tokio::test]
async fn an_authority_of_our_own_is_trusted_when_it_is_named_and_nobody_else() {
    let ours = Authority::new();
    let url = secure(&ours, &["http/1.1"], None).await;
    let orders = at(&url).tls(Tls::only(&ours.pem()).unwrap());
    assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    let orders = at(&url).tls(Tls::public().trust(&ours.pem()).unwrap());
    assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);

    for stranger in [Tls::public(), Tls::only(&Authority::new().pem()).unwrap()] {
        let error = call(&at(&url).tls(stranger), request("/")).await.expect_err("nobody to talk to");
        assert_eq!((error.cause(), error.is_not_processed()), (Cause::Tls, true), "{error:?}");
    }
    let other_name = url.replace("localhost", "127.0.0.1");
    let error = call(&at(&other_name).tls(Tls::only(&ours.pem()).unwrap()), request("/")).await.expect_err("no answer");
    assert_eq!(error.cause(), Cause::Tls, "a certificate is for its name: {error:?}");
}

#[tokio::test]
async fn http2_is_spoken_where_the_endpoint_offers_it() {
    let ours = Authority::new();
    for (alpn, version) in [
        (&["http/1.1"][..], Version::HTTP_11),
        (&[], Version::HTTP_11),
        (&["h2", "http/1.1"], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
    ] {
        let url = secure(&ours, alpn, None).await;
        let orders = at(&url).tls(Tls::only(&ours.pem()).unwrap());
        assert_eq!(ask(&orders, request("/")).await.body, format!("{version:?}"), "{alpn:?}");
        assert_eq!(ask(&orders, request("/")).await.body, format!("{version:?}"), "again, from the pool");
    }
}

#[tokio::test]
async fn trailers_are_asked_for_whatever_was_agreed_on() {
    let ours = Authority::new();
    for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let orders = at(&secure(&ours, &[alpn], None).await).tls(Tls::only(&ours.pem()).unwrap());
        let mut request = request("/");
        for (name, value) in [("te", "trailers"), ("connection", "te")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(ask(&orders, request).await.body, format!("{version:?} trailers"));
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_who_is_calling_is_told() {
    let ours = Authority::new();
    let Identity { certificate, key } = ours.identity("gateway");
    let (chain, key) = (certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
    for (version, alpn) in [(&TLS12, "http/1.1"), (&TLS12, "h2"), (&TLS13, "http/1.1"), (&TLS13, "h2")] {
        let url = secure_by(&[version], &ours, &[alpn], Some(ours.verifier())).await;
        let tls = Tls::only(&ours.pem()).unwrap();
        let error = call(&at(&url).tls(tls.clone()), request("/")).await.expect_err("no answer");
        assert_eq!(error.cause(), Cause::Tls, "{version:?} {alpn}: {error:?}");
        let orders = at(&url).tls(tls.identity(&chain, &key).unwrap());
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_speak_tls_is_told_apart() {
    let (addr, _) = named("plain").await;
    let error = call(&at(&format!("https://{addr}")), request("/")).await.expect_err("no answer");
    assert_eq!(error.cause(), Cause::Tls, "{error:?}");
}

/// For real, two seconds of it: the clock of a test that is paused runs ahead of sockets.
#[tokio::test]
async fn a_handshake_that_hangs_is_given_up_as_a_connection_is() {
    let orders = at(&format!("https://{}", silent().await)).retry(RetryPolicy::never());
    let start = Instant::now();
    let error = call(&orders, request("/")).await.expect_err("no answer");
    assert_eq!((error.cause(), error.is_not_processed()), (Cause::Connect, true), "{error:?}");
    assert!(start.elapsed() < ms(5_000));
}

#[test]
fn what_is_no_certificate_says_so() {
    let error = |tls: Result<Tls, TlsError>| tls.unwrap_err().to_string();
    assert_eq!(error(Tls::only(b"")), "there is no certificate in it");
    assert_eq!(error(Tls::only(b"-----BEGIN CERTIFICATE-----\nnonsense")), "it is not PEM");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (us, them) = (ours.identity("us"), theirs.identity("them"));
    let identity =
        |chain: &Identity, key: &str| Tls::public().identity(chain.certificate.pem().as_bytes(), key.as_bytes());
    assert_eq!(error(identity(&us, "")), "there is no key");
    assert_eq!(error(identity(&us, &them.key.serialize_pem())), "the key is not that of the certificate");
    assert!(identity(&us, &us.key.serialize_pem()).is_ok());
}
