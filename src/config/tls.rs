//! The gateway's certificate and key: named in the configuration, read by the gateway when it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::identity::Uid;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::secret_file::{SecretFile, SecretFileError};
use crate::config::trusted_file::{self, FileReason, PEM_MAX};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] FileReason),
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] SecretFileError),
    /// The file with the certificates has none.
    #[error("{path} has no CERTIFICATE in PEM")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file with the key has none.
    #[error("{path} has no PRIVATE KEY in PEM")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that cannot serve, or not the certificate's.
    #[error("the key does not fit the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// Where certificate and key are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tls {
    /// The chain in PEM, our own certificate first.
    pub(crate) certificate: PathBuf,
    /// Its private key in PEM.
    pub(crate) key: SecretFile,
    reader: Uid,
}

impl Tls {
    pub(super) const fn new(certificate: PathBuf, key: SecretFile, reader: Uid) -> Self {
        Self { certificate, key, reader }
    }

    /// Reads both and makes sure that they belong together.
    pub(crate) fn load(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = read_certificates(&self.certificate, self.reader)?;
        let pem = self.key.read()?;
        let key = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
            .map_err(|_| TlsError::NoKey { path: self.key.path().to_owned() })?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Mismatch)
    }
}

/// Reads a file of certificates: at least one.
pub(super) fn read_certificates(path: &Path, reader: Uid) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = trusted_file::read_text(path, PEM_MAX, reader)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate { path: path.to_owned() })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}
