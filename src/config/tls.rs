//! The gateway's certificate and key: named in the configuration, read by the gateway when it
//! starts and by the server, for the gateway, when they were renewed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::identity::Uid;
use countersign_keys::secret::Secret;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::secret_file::{SecretFile, SecretFileError};
use crate::config::trusted_file::{self, FileReason, PEM_MAX};

/// What is handed over at most, in bytes, so that it fits a line of the control line with its
/// escapes: four times the usual.
const HANDED_OVER_MAX: usize = 48 * 1024;

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
    /// More than the line to the gateway takes.
    #[error(
        "certificates and key have more than {HANDED_OVER_MAX} bytes together: a gateway takes them up only when it starts"
    )]
    TooLong,
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
        self.certified(&self.read()?)
    }

    /// Reads both, to be taken up by a gateway that cannot open them.
    ///
    /// # Errors
    /// If they cannot be read, do not belong together, or are longer than can be handed over.
    pub(crate) fn load_for_handing_over(&self) -> Result<TlsFiles, TlsError> {
        let files = self.read()?;
        self.certified(&files)?;
        let length = files.certificates.len().saturating_add(files.key.expose().len());
        if length > HANDED_OVER_MAX { Err(TlsError::TooLong) } else { Ok(files) }
    }

    /// What was read, if it belongs together.
    pub(crate) fn certified(&self, files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = certificates(&self.certificate, &files.certificates)?;
        let key = PrivateKeyDer::from_pem_slice(files.key.expose().as_bytes())
            .map_err(|_| TlsError::NoKey { path: self.key.path().to_owned() })?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new).map_err(TlsError::Mismatch)
    }

    fn read(&self) -> Result<TlsFiles, TlsError> {
        let certificates = trusted_file::read_text(&self.certificate, PEM_MAX, self.reader)?;
        Ok(TlsFiles { certificates, key: Arc::new(self.key.read()?) })
    }
}

/// What both files hold, in PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
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

/// Only the socket pair between server and gateway is written to with this.
fn expose<S: Serializer>(key: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

fn take_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Secret<String>>, D::Error> {
    String::deserialize(deserializer).map(|key| Arc::new(Secret::new(key)))
}

/// Reads a file of certificates: at least one.
pub(super) fn read_certificates(path: &Path, reader: Uid) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(path, &trusted_file::read_text(path, PEM_MAX, reader)?)
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
