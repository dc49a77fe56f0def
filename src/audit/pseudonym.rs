//! Usernames in records as pseudonyms: the same user has the same one for good, and only whoever
//! has the key can say whose it is.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_keys::identity::Username;
use countersign_keys::secret::Secret;

/// What a pseudonym begins with, so that nobody takes it for a name.
const PREFIX: &str = "pseudonym-";

/// Of an HMAC, as many bytes as make a pseudonym: no two of a million users have the same.
const BYTES: usize = 16;

/// Makes pseudonyms.
pub(crate) struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// With that key, which is some 32 random bytes in any form.
    pub(crate) fn new(key: &Secret<String>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
    }

    /// What stands in the records for this user. `None` never happens: it is a username like any
    /// other.
    pub(crate) fn of(&self, username: &Username) -> Option<Username> {
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
    #![allow(clippy::unwrap_used)]
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
