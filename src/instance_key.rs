//! The file of the user's instance key, `~/.config/countersign/instance_key`: where it is and how it is read. Commands make it, the instance
//! signs with it.

use countersign_keys::secret::Secret;
use p256::SecretKey;
use p256::pkcs8::DecodePrivateKey as _;

/// The key's file, beside the pins.
pub(crate) const FILE: &str = "instance_key";

/// The longest such file, in bytes: a P-256 key in PEM has about 240.
pub(crate) const LENGTH_MAX: usize = 4096;

/// The key, if that is one: P-256 in PKCS #8 PEM.
pub(crate) fn parse(pem: &Secret<Vec<u8>>) -> Option<SecretKey> {
    SecretKey::from_pkcs8_pem(std::str::from_utf8(pem.expose()).ok()?).ok()
}
