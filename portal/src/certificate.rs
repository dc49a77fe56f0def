//! A certificate for the provider under test, and the authority that it chains to.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use crate::Fault;

/// A certificate chain with its private key, made for one run.
#[derive(Clone)]
pub struct TestCertificate {
    /// The authority's certificate: what [`Endpoint::tls`](crate::Endpoint::tls) believes in.
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
    /// Makes an authority and a certificate for `name`.
    ///
    /// # Errors
    /// [`Fault::Certificate`] for a name that no certificate can have.
    pub fn make(name: &str) -> Result<Self, Fault> {
        Self::build(name).map_err(|why| Fault::Certificate(why.to_string()))
    }

    fn build(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Countersign test authority");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &authority)?;
        Ok(Self { authority_pem: authority.pem(), certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}
