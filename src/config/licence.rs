//! The licence of a product of type `license`, as jobs get it: the address of a licence server,
//! and a key.

use countersign_keys::secret::Secret;

use crate::secret_file::{SecretFile, SecretFileError};

/// Longest address, in bytes: a host name has at most 253 (RFC 1035, section 2.3.4), and a port.
const ADDRESS_MAX: usize = 259;

/// At least one of the two is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Licence {
    /// Such as `licences.example.org:27000`.
    pub address: Option<String>,
    /// One word of printable ASCII. The server reads it, and gives it to the users' own processes.
    pub key: Option<SecretFile>,
}

impl Licence {
    /// What a script gets: `address/key`, or the one that there is. Reads the key's file, so that a
    /// new key needs no restart.
    ///
    /// # Errors
    /// The file is refused.
    pub fn value(&self) -> Result<Secret<String>, SecretFileError> {
        let key = self.key.as_ref().map(SecretFile::read_token).transpose()?;
        let parts = [self.address.as_deref(), key.as_ref().map(|key| key.expose().as_str())];
        Ok(Secret::new(parts.into_iter().flatten().collect::<Vec<_>>().join("/")))
    }
}

/// Whether it is the address of a licence server: characters of host names, addresses and ports, so
/// that it needs no quoting.
pub(crate) fn is_address(text: &str) -> bool {
    (1..=ADDRESS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use countersign_keys::identity::Uid;

    use crate::{Config, ConfigError, Reader, Role};

    #[test]
    fn j09_an_instance_that_could_read_a_key_does_not_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(directory.path().join("key"), "secret").unwrap();
        let text = "[[products]]\nname = \"m\"\ncategory = \"m\"\ntype = \"license\"\nkey = ";
        let reached = |role: Role, key: &str| -> Vec<String> {
            let reader = Reader { role, uid: Uid(nix::unistd::geteuid().as_raw()) };
            let Err(ConfigError::Content { problems, .. }) =
                Config::check(&format!("{text}\"{key}\"\n"), &file, reader)
            else {
                panic!("there is no provider")
            };
            let problems = problems.into_iter().filter(|problem| problem.reason.to_string().contains("an instance's"));
            problems.map(|problem| problem.key).collect()
        };
        assert_eq!(reached(Role::Instance, "key"), ["products.key"]);
        assert_eq!(reached(Role::Instance, "nothing"), [""; 0]);
        assert_eq!(reached(Role::Gateway, "key"), [""; 0]);
    }
}
