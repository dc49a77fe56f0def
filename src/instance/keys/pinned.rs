//! The keys that the user pinned. Reads the file again whenever it has changed, so that a revoked
//! key is refused on its next request (P6).

use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::identity::{KeyId, ProviderId, Username};
use countersign_keys::intent::KeyWanted;
use countersign_keys::keyring::{EnrolledKey, KeyRejection, Protocol};
use countersign_keys::pins::{PINS_MAX, PinRejection, Pins};

use crate::account::OwnAccount;
use countersign_config::user_file::{self, FileVersion, UserFileFailure};

/// The file, below the home directory.
const FILE: &str = ".config/countersign/authorized_keys";

/// Why the pinned keys cannot be read or trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinnedFailure {
    /// The file or a directory above it cannot be read, or an account other than the user or root
    /// could have changed it.
    #[error(transparent)]
    File(#[from] UserFileFailure),
    #[error("~/{FILE} is not UTF-8")]
    Text,
    /// A line of the file cannot be parsed.
    #[error("~/{FILE}, {0}")]
    Line(PinRejection),
    /// The file holds an invalid key.
    #[error("~/{FILE}: {0}")]
    Key(KeyRejection),
}

impl From<KeyRejection> for PinnedFailure {
    fn from(cause: KeyRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Key(cause)
    }
}

impl From<PinRejection> for PinnedFailure {
    fn from(cause: PinRejection) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Line(cause)
    }
}

/// The pinned keys of this account that are valid at its provider.
#[derive(Debug)]
pub(crate) struct PinnedKeys {
    account: OwnAccount,
    provider: ProviderId,
    /// The last version of the file that was read.
    read: Mutex<Option<ReadFile>>,
}

/// The keys of a file, and the file's version when they were read.
#[derive(Debug)]
struct ReadFile {
    version: FileVersion,
    keys: Arc<[Arc<EnrolledKey>]>,
}

impl PinnedKeys {
    /// The account's keys for that provider. A key that the user approved for another provider is
    /// ignored.
    pub(crate) fn of(account: &OwnAccount, provider: &ProviderId) -> Self {
        Self { account: account.clone(), provider: provider.clone(), read: Mutex::new(None) }
    }

    /// The user's keys that could verify an intent. Empty if there is no file.
    ///
    /// # Errors
    /// If the file cannot be trusted or read.
    pub(crate) fn matching(
        &self,
        username: &Username,
        wanted: KeyWanted,
    ) -> Result<Vec<Arc<EnrolledKey>>, PinnedFailure> {
        let is_match = |key: &&Arc<EnrolledKey>| {
            key.owner() == username
                && match wanted {
                    KeyWanted::Id(kid) => key.kid() == kid && key.protocol() == Protocol::V2,
                    KeyWanted::Version1 => key.protocol() == Protocol::V1,
                }
        };
        Ok(self.all()?.iter().filter(is_match).cloned().collect())
    }

    /// The key of that id, if it is pinned for that user.
    ///
    /// # Errors
    /// If the file cannot be trusted or read.
    pub(crate) fn key(&self, username: &Username, kid: KeyId) -> Result<Option<Arc<EnrolledKey>>, PinnedFailure> {
        let keys = self.all()?;
        Ok(keys.iter().find(|key| key.owner() == username && key.kid() == kid).cloned())
    }

    fn all(&self) -> Result<Arc<[Arc<EnrolledKey>]>, PinnedFailure> {
        let opened = match user_file::open(self.account.home(), FILE.as_ref(), self.account.uid()) {
            Err(failure) if failure.is_absence() => return Ok(Arc::from([])),
            opened => opened?,
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let version = opened.version();
        if let Some(file) = read.as_ref().filter(|file| file.version == version) {
            return Ok(Arc::clone(&file.keys));
        }
        let text = String::from_utf8(opened.read(PINS_MAX)?).map_err(|_| PinnedFailure::Text)?;
        let keys = Pins::parse(&text)?
            .keys_at(&self.provider)
            .map(|record| EnrolledKey::from_record(record).map(Arc::new))
            .collect::<Result<Arc<[_]>, _>>()?;
        *read = Some(ReadFile { version, keys: Arc::clone(&keys) });
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LINE: &str = "ES256 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ== AQEBAQEBAQEBAQEBAQEBAQ YWxpY2U v2 created=1 expires=2 x\n";

    #[test]
    fn r03_an_instance_takes_the_keys_of_its_own_provider_and_those_of_no_provider() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        for path in [home.path(), &home.path().join(".config"), &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let account = OwnAccount::in_tests(home.path());
        let is_pinned = |at: &str| {
            let keys = PinnedKeys::of(&account, &ProviderId::parse(at).unwrap());
            keys.key(&Username::parse("alice").unwrap(), KeyId::from_bytes([1; 16])).unwrap().is_some()
        };
        let check = |line: &str, want: (bool, bool)| {
            fs::write(directory.join("authorized_keys"), line).unwrap();
            assert_eq!((is_pinned("hpc"), is_pinned("lab")), want, "{line}");
        };
        check(LINE, (true, true));
        check(&LINE.replacen(" v2", " v2 provider=hpc", 1), (true, false));
        check(&LINE.replacen(" v2", " v2 provider=lab", 1), (false, true));
    }
}
