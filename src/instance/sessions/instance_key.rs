//! The user's instance key: signs tokens, and verifies the instance's own.

use countersign_keys::identity::ProviderId;
use countersign_keys::jws::Algorithm;
use countersign_keys::keyring::VerificationKey;
use countersign_keys::secret::Secret;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::EncodePublicKey as _;

use crate::account::OwnAccount;
use countersign_config::user_file::{self, Opened, UserFileFailure};
use countersign_home::instance_key::{self, LENGTH_MAX, SHARED_FILE, file_of};
use countersign_home::pin_file::DIRECTORY;

/// Both halves of the key. Its `Debug` form omits both.
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
    /// Reads the provider's key, or, if there is none, the key that earlier releases shared between
    /// providers. Returns `None` if there is neither: then the instance grants no sessions. Logs an
    /// error and returns `None` if the file is unusable or other accounts could have read it.
    pub(super) fn of(account: &OwnAccount, provider: &ProviderId) -> Option<Self> {
        let read = |file: &str| -> Result<Vec<u8>, UserFileFailure> {
            let path: std::path::PathBuf = DIRECTORY.iter().copied().chain([file]).collect();
            user_file::open(account.home(), &path, account.uid()).and_then(Opened::private)?.read(LENGTH_MAX)
        };
        let own = read(&file_of(provider));
        match own.or_else(|failure| if failure.is_absence() { read(SHARED_FILE) } else { Err(failure) }) {
            Ok(pem) => {
                let key = Self::parse(&Secret::new(pem));
                if key.is_none() {
                    tracing::error!("the instance key is not a P-256 key in PKCS #8 PEM: no transfers, no terminals");
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

    pub(super) const fn public(&self) -> &VerificationKey {
        &self.public
    }

    /// Signs (ES256, RFC 7518 section 3.4).
    pub(super) fn sign(&self, input: &[u8]) -> [u8; 64] {
        let signature: Signature = self.signing.sign(input);
        signature.to_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use p256::SecretKey;
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

    use super::*;

    #[test]
    fn r03_an_instance_signs_with_its_providers_key_and_else_with_that_of_an_earlier_release() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        for path in [home.path(), &home.path().join(".config"), &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let write = |file: &str, number: u8| {
            let key = SecretKey::from_slice(&[number; 32]).unwrap();
            let path = directory.join(file);
            fs::write(&path, key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            key.public_key().to_public_key_der().unwrap().into_vec()
        };
        let of = |provider: &str| {
            let key = InstanceKey::of(&OwnAccount::in_tests(home.path()), &ProviderId::parse(provider).unwrap());
            key.map(|key| key.public().spki_der().to_vec())
        };
        assert_eq!(of("hpc"), None);
        let shared = write("instance_key", 1);
        assert_eq!((of("hpc"), of("lab")), (Some(shared.clone()), Some(shared.clone())));
        let lab = write("instance_key.lab", 2);
        assert_eq!((of("hpc"), of("lab")), (Some(shared), Some(lab)));
        // A key that other accounts could have read is an error: the other file does not replace
        // it.
        fs::set_permissions(directory.join("instance_key.lab"), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(of("lab"), None);
    }
}
