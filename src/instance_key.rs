//! The file of the user's instance key at a provider,
//! `~/.config/countersign/instance_key.PROVIDER`: where it is and how it is read. Commands make it,
//! the instance signs with it.
//!
//! Earlier releases had one key for all providers, `instance_key`. It stays the key of the
//! providers that it was made for.

use countersign_keys::identity::ProviderId;
use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::DecodePrivateKey as _;

/// The file of earlier releases, beside the pins.
pub(crate) const SHARED_FILE: &str = "instance_key";

/// The file of a provider's key, beside the pins.
pub(crate) fn file_of(provider: &ProviderId) -> String {
    format!("{SHARED_FILE}.{provider}")
}

/// The longest such file, in bytes: a P-256 key in PEM has about 240.
pub(crate) const LENGTH_MAX: usize = 4096;

/// The key, if that is one: P-256 in PKCS #8 PEM.
pub(crate) fn parse(pem: &Secret<Vec<u8>>) -> Option<SecretKey> {
    SecretKey::from_pkcs8_pem(std::str::from_utf8(pem.expose()).ok()?).ok()
}
