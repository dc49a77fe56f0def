//! TLS 1.3 and 1.2 with Mozilla's intermediate profile or better: only AEAD suites with forward
//! secrecy.
//!
//! The configuration reads certificate and key, checks that they match, and refuses a key file that
//! others can read. Both can be replaced while the gateway runs, because certificates expire every
//! few weeks.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use countersign_config::certificate_end;

/// Sessions kept for resumption in TLS 1.2: one for each connection of a busy Core, and some for
/// browsers.
const SESSIONS_MAX: usize = 4_096;

/// HTTP/2 and HTTP/1.1 in ALPN (RFC 7301).
pub(crate) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The certificate and key of new connections.
#[derive(Debug)]
pub(crate) struct CurrentKey(RwLock<Arc<CertifiedKey>>);

impl CurrentKey {
    pub(crate) fn new(key: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(key)))
    }

    /// Replaces certificate and key, for new connections.
    pub(crate) fn set(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl CurrentKey {
    /// When the certificate in use expires, in seconds since 1970.
    pub(crate) fn end(&self) -> Option<i64> {
        let key = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        certificate_end(key.cert.first()?)
    }
}

impl ResolvesServerCert for CurrentKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

pub(crate) fn acceptor(key: Arc<CurrentKey>) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(key);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Early data could be replayed by an attacker on the path.
    config.max_early_data_size = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Lists every algorithm, so that no default of a dependency adds one.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use tokio_rustls::TlsConnector;

    fn made() -> (Arc<CertifiedKey>, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let certificate = made.cert.der().clone();
        (Arc::new(CertifiedKey::new(vec![certificate.clone()], key)), certificate)
    }

    async fn negotiated(
        current: &Arc<CurrentKey>,
        trusted: &CertificateDer<'static>,
        version: &'static rustls::SupportedProtocolVersion,
        alpn: &[u8],
    ) -> std::io::Result<(Option<rustls::ProtocolVersion>, Option<Vec<u8>>)> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = acceptor(Arc::clone(current)).unwrap();
        let (ours, theirs) = tokio::io::duplex(4096);
        let connector = TlsConnector::from(Arc::new(client));
        let (served, connected) =
            tokio::join!(acceptor.accept(ours), connector.connect(ServerName::try_from("localhost").unwrap(), theirs));
        served?;
        let connected = connected?;
        let (_, session) = connected.get_ref();
        Ok((session.protocol_version(), session.alpn_protocol().map(<[u8]>::to_vec)))
    }

    #[tokio::test]
    async fn both_versions_and_both_protocols_are_served() {
        let (key, certificate) = made();
        let current = CurrentKey::new(key);
        for (version, want) in [
            (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
            (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        ] {
            for alpn in [H2, HTTP_1_1] {
                let (version, protocol) = negotiated(&current, &certificate, version, alpn).await.unwrap();
                assert_eq!((version, protocol.as_deref()), (Some(want), Some(alpn)));
            }
        }
        assert!(negotiated(&current, &certificate, &rustls::version::TLS13, b"spdy/3").await.is_err());
    }

    #[tokio::test]
    async fn a_certificate_is_exchanged_while_it_runs() {
        let ((first, old), (second, new)) = (made(), made());
        let current = CurrentKey::new(first);
        assert!(negotiated(&current, &old, &rustls::version::TLS13, H2).await.is_ok());
        current.set(second);
        assert!(negotiated(&current, &old, &rustls::version::TLS13, H2).await.is_err());
        assert!(negotiated(&current, &new, &rustls::version::TLS13, H2).await.is_ok());
    }
}
