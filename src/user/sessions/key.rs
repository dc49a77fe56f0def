//! The user's instance key, as the instance uses it: to sign tokens, and to know its own.

use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::VerificationKey;
use countersign_keys::secret::Secret;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::EncodePublicKey as _;

use crate::config::strict_file;
use crate::instance_key::{self, FILE, LENGTH_MAX};
use crate::pin_file::DIRECTORY;
use crate::user::account::OwnAccount;

/// Both halves of it. Its `Debug` form leaves the private one out.
pub(super) struct InstanceKey {
    signing: SigningKey,
    public: VerificationKey,
}

impl std::fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceKey")
    }
}

impl InstanceKey {
    /// Reads it. `None`, and a line in the log, where there is none, or one that others could have read: then there are no sessions.
    pub(super) fn of(account: &OwnAccount) -> Option<Self> {
        let path: std::path::PathBuf = DIRECTORY.iter().copied().chain([FILE]).collect();
        let read = strict_file::open(account.home(), &path, account.uid())
            .and_then(strict_file::Opened::private)
            .and_then(|opened| opened.read(LENGTH_MAX));
        match read {
            Ok(pem) => {
                let key = Self::parse(&Secret::new(pem));
                if key.is_none() {
                    tracing::error!("the instance key is no P-256 key in PKCS #8 PEM: no transfers, no terminals");
                }
                key
            }
            Err(failure) if failure.is_absence() => None,
            Err(failure) => {
                tracing::error!(%failure, "the instance key cannot be used: no transfers, no terminals");
                None
            }
        }
    }

    fn parse(pem: &Secret<Vec<u8>>) -> Option<Self> {
        let secret = instance_key::parse(pem)?;
        let spki = secret.public_key().to_public_key_der().ok()?;
        let public = VerificationKey::from_spki_der(spki.as_bytes(), Algorithm::Es256).ok()?;
        Some(Self { signing: SigningKey::from(secret), public })
    }

    /// What verifies its signatures.
    pub(super) const fn public(&self) -> &VerificationKey {
        &self.public
    }

    /// Signs (ES256, RFC 7518 section 3.4).
    pub(super) fn sign(&self, input: &[u8]) -> [u8; 64] {
        let signature: Signature = self.signing.sign(input);
        signature.to_bytes().into()
    }
}
