//! The gateway's certificate and key: read by the gateway at start-up, and by the server for the
//! gateway on a renewal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::secret::Secret;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x509_cert::der::Decode as _;

use crate::admin_file::{self, FileReason, PEM_MAX};
use crate::secret_file::{SecretFile, SecretFileError};

/// Most bytes handed over, so that they fit a line of the control channel with escapes: four times
/// the usual.
const HANDED_OVER_MAX: usize = 48 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Certificate(#[from] FileReason),
    #[error(transparent)]
    Key(#[from] SecretFileError),
    #[error("{path} has no CERTIFICATE in PEM")]
    NoCertificate { path: PathBuf },
    #[error("{path} has no PRIVATE KEY in PEM")]
    NoKey { path: PathBuf },
    /// More than fits a message to the gateway.
    #[error(
        "certificates and key have more than {HANDED_OVER_MAX} bytes together: a gateway loads them only when it starts"
    )]
    TooLong,
    /// The key is of an unusable kind, or not the certificate's.
    #[error("the key does not fit the certificate")]
    Mismatch(#[source] rustls::Error),
}

/// The paths of certificate and key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// The chain in PEM, leaf first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: SecretFile,
    reader: Uid,
}

impl Tls {
    pub(super) const fn new(certificate: PathBuf, key: SecretFile, reader: Uid) -> Self {
        Self { certificate, key, reader }
    }

    /// Reads both and checks that they match.
    pub fn load(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        self.certified(&self.read()?)
    }

    /// Reads both for a running gateway, which cannot open files.
    ///
    /// # Errors
    /// If they cannot be read, do not match, or are too long to hand over.
    pub fn load_for_handing_over(&self) -> Result<TlsFiles, TlsError> {
        let files = self.read()?;
        self.certified(&files)?;
        let length = files.certificates.len().saturating_add(files.key.expose().len());
        if length > HANDED_OVER_MAX { Err(TlsError::TooLong) } else { Ok(files) }
    }

    /// Checks that certificate and key match.
    pub fn certified(&self, files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = certificates(&self.certificate, &files.certificates)?;
        let key = PrivateKeyDer::from_pem_slice(files.key.expose().as_bytes())
            .map_err(|_| TlsError::NoKey { path: self.key.path().to_owned() })?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Mismatch)
    }

    fn read(&self) -> Result<TlsFiles, TlsError> {
        let certificates = admin_file::read_text(&self.certificate, PEM_MAX, self.reader)?;
        Ok(TlsFiles { certificates, key: Arc::new(self.key.read()?) })
    }
}

/// The content of both files, in PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    certificates: String,
    #[serde(serialize_with = "expose", deserialize_with = "take_in")]
    key: Arc<Secret<String>>,
}

impl PartialEq for TlsFiles {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates && self.key.eq_ct(other.key.expose().as_bytes())
    }
}

impl Eq for TlsFiles {}

/// Serialises only to the socket pair between server and gateway.
fn expose<S: Serializer>(key: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

fn take_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Secret<String>>, D::Error> {
    String::deserialize(deserializer).map(|key| Arc::new(Secret::new(key)))
}

/// When a certificate expires, in seconds since 1970; `None` if it cannot be read.
pub fn certificate_end(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    i64::try_from(end.as_secs()).ok()
}

/// Reads a file with at least one certificate.
pub(super) fn read_certificates(path: &Path, reader: Uid) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(path, &admin_file::read_text(path, PEM_MAX, reader)?)
}

fn certificates(path: &Path, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate { path: path.to_owned() })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}
