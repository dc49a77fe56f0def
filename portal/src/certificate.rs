//! A certificate for the provider under test, and the authority that issues it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Fault;

/// A certificate with its private key and its authority, made for one run.
#[derive(Clone)]
pub struct TestCertificate {
    /// The authority's certificate, the only root that [`Endpoint::tls`](crate::Endpoint::tls)
    /// accepts.
    pub authority_pem: String,
    /// The provider's certificate.
    pub certificate_pem: String,
    /// The provider's private key.
    pub key_pem: String,
}

impl std::fmt::Debug for TestCertificate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("TestCertificate")
    }
}

impl TestCertificate {
    /// Makes an authority and a certificate for `name` and the names below `apps.` of it.
    ///
    /// # Errors
    /// [`Fault::Certificate`] if no certificate can contain `name`.
    pub fn make(name: &str) -> Result<Self, Fault> {
        Self::build(name).map_err(|why| Fault::Certificate(why.to_string()))
    }

    /// A TLS acceptor that presents this certificate.
    ///
    /// # Errors
    /// [`Fault::Certificate`] or [`Fault::Tls`] if the certificate or the key cannot be used.
    pub fn acceptor(&self) -> Result<TlsAcceptor, Fault> {
        let unreadable = |why: rustls_pki_types::pem::Error| Fault::Certificate(why.to_string());
        let certificate = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(unreadable)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn build(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Countersign test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(vec![name.to_owned(), format!("*.apps.{name}")])?.signed_by(&key, &authority)?;
        Ok(Self { authority_pem: authority.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}
