//! Fuzz entry for SSH keys: an accepted key is one line and parses back to itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use super::public_key::SshPublicKey;

/// Parses a text as a key that a user gives UCloud.
pub fn key(text: &str) {
    let Ok(key) = SshPublicKey::parse(text) else { return };
    let line = key.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    assert_eq!(SshPublicKey::parse(&line).as_ref(), Ok(&key));
    assert!(text.trim_end().starts_with(line.split(' ').next().unwrap()), "no options before the key");
}
