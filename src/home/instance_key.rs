//! The file of a user's instance key at a provider, `~/.config/countersign/instance_key.PROVIDER`.
//! Commands create it, and the instance signs with it.
//!
//! Earlier releases had one key for all providers, `instance_key`. It stays the key of the
//! providers for which it was made.

use countersign_keys::identity::ProviderId;
use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::DecodePrivateKey as _;

/// The file of earlier releases, beside the pins.
pub const SHARED_FILE: &str = "instance_key";

/// The file of a provider's key, beside the pins.
pub fn file_of(provider: &ProviderId) -> String {
    format!("{SHARED_FILE}.{provider}")
}

/// Longest file, in bytes. A P-256 key in PEM has about 240.
pub const LENGTH_MAX: usize = 4096;

/// Parses P-256 in PKCS #8 PEM.
pub fn parse(pem: &Secret<Vec<u8>>) -> Option<SecretKey> {
    SecretKey::from_pkcs8_pem(std::str::from_utf8(pem.expose()).ok()?).ok()
}
