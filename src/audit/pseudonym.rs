//! Pseudonyms for usernames in records: stable for a user, and linkable to the user only with the
//! key.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::Username;
use countersign_keys::secret::Secret;

/// Prefix that distinguishes pseudonyms from usernames.
const PREFIX: &str = "pseudonym-";

/// Bytes of the HMAC in a pseudonym: a collision among a million users is practically impossible.
const BYTES: usize = 16;

pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// The key is 32 random bytes or so, in any encoding.
    pub fn new(key: &Secret<String>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
    }

    /// The user's pseudonym. Never `None`, because a pseudonym is a valid username.
    pub fn of(&self, username: &Username) -> Option<Username> {
        let tag = hmac::sign(&self.0, username.as_str().as_bytes());
        let short = tag.as_ref().get(..BYTES)?;
        Username::parse(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(short))).ok()
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_same_with_the_same_key_and_says_nothing_of_the_name() {
        let of = |key: &str, name: &str| {
            let pseudonyms = Pseudonyms::new(&Secret::new(key.to_owned()));
            pseudonyms.of(&Username::parse(name).unwrap()).unwrap().as_str().to_owned()
        };
        assert_eq!(of("a", "alice#1234"), of("a", "alice#1234"));
        assert_ne!(of("a", "alice#1234"), of("b", "alice#1234"));
        assert_ne!(of("a", "alice#1234"), of("a", "alice#1235"));
        let pseudonym = of("a", "alice#1234");
        assert!(pseudonym.starts_with(PREFIX) && pseudonym.len() == 32 && !pseudonym.contains("alice"), "{pseudonym}");
    }
}
