//! The keys that the user pinned. Reads the file again whenever it, or a directory above it, has
//! changed, so that a revoked key is refused on its next request (P6).

use std::sync::{Arc, Mutex, PoisonError};

use countersign_keys::identity::{KeyId, ProviderId, Username};
use countersign_keys::intent::KeyWanted;
use countersign_keys::keyring::{EnrolledKey, KeyRejection, Protocol};
use countersign_keys::pins::{PINS_MAX, PinRejection, Pins};
use countersign_keys::time::Timestamp;

use crate::account::OwnAccount;
use countersign_config::kept_look::{KeptLook, open_kept};
use countersign_config::user_file::{FileVersion, Opened, UserFileFailure};
use countersign_os::clock::Clock;

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
    /// By which file systems stamp changes.
    clock: Clock,
    /// The last version of the file that was read.
    read: Mutex<Option<ReadFile>>,
}

/// The keys of a file, the file's version when they were read, and the look at its path.
#[derive(Debug)]
struct ReadFile {
    version: FileVersion,
    /// Whether the version had settled then: another content would have had another one.
    is_settled: bool,
    look: Option<KeptLook>,
    keys: Arc<[Arc<EnrolledKey>]>,
}

impl PinnedKeys {
    /// The account's keys for that provider. A key that the user approved for another provider is
    /// ignored.
    pub(crate) fn of(account: &OwnAccount, provider: &ProviderId, clock: Clock) -> Self {
        Self { account: account.clone(), provider: provider.clone(), clock, read: Mutex::new(None) }
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
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = read.as_ref().filter(|file| file.look.as_ref().is_some_and(KeptLook::still_holds));
        if let Some(file) = kept {
            return Ok(Arc::clone(&file.keys));
        }
        let before = read.take();
        // With an unreadable clock nothing has settled.
        let now = self.clock.now().unwrap_or(Timestamp::from_seconds(i64::MIN));
        let (opened, look) = match open_kept(self.account.home(), FILE.as_ref(), self.account.uid(), now) {
            Err(failure) if failure.is_absence() => return Ok(Arc::from([])),
            opened => opened?,
        };
        let version = opened.version();
        let keys = match before.filter(|file| file.is_settled && file.version == version) {
            Some(file) => file.keys,
            None => self.parse(opened)?,
        };
        *read = Some(ReadFile { version, is_settled: version.is_settled(now), look, keys: Arc::clone(&keys) });
        Ok(keys)
    }

    fn parse(&self, opened: Opened) -> Result<Arc<[Arc<EnrolledKey>]>, PinnedFailure> {
        let text = String::from_utf8(opened.read(PINS_MAX)?).map_err(|_| PinnedFailure::Text)?;
        let keys = Pins::parse(&text)?
            .keys_at(&self.provider)
            .map(|record| EnrolledKey::from_record(record).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    const LINE: &str = "ES256 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ== AQEBAQEBAQEBAQEBAQEBAQ YWxpY2U v2 created=1 expires=2 x\n";

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(".config/countersign");
        fs::create_dir_all(&directory).unwrap();
        for path in [home.path(), &home.path().join(".config"), &directory] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        home
    }

    fn is_pinned(keys: &PinnedKeys) -> bool {
        keys.key(&Username::parse("alice").unwrap(), KeyId::from_bytes([1; 16])).unwrap().is_some()
    }

    /// Keys of a home whose files all have settled, and the look at them kept.
    fn kept_in(home: &Path) -> PinnedKeys {
        fs::write(home.join(FILE), LINE).unwrap();
        let later = Clock::Set(Arc::new((i64::MAX / 2).into()));
        let keys = PinnedKeys::of(&OwnAccount::in_tests(home), &ProviderId::parse("hpc").unwrap(), later);
        assert!(is_pinned(&keys) && keys.read.lock().unwrap().as_ref().is_some_and(|file| file.look.is_some()));
        keys
    }

    #[test]
    fn p6_a_key_taken_out_of_the_file_is_refused_next() {
        let home = home();
        let keys = kept_in(home.path());
        fs::write(home.path().join(FILE), "").unwrap();
        assert!(!is_pinned(&keys));
        fs::write(home.path().join(FILE), LINE).unwrap();
        assert!(is_pinned(&keys));
        fs::remove_file(home.path().join(FILE)).unwrap();
        assert!(!is_pinned(&keys));
    }

    #[test]
    fn p6_of_a_file_just_written_every_content_is_read() {
        let home = home();
        let path = home.path().join(FILE);
        let keys =
            PinnedKeys::of(&OwnAccount::in_tests(home.path()), &ProviderId::parse("hpc").unwrap(), Clock::System);
        let other = LINE.replacen(" AQEBAQEBAQEBAQEBAQEBAQ ", " AgICAgICAgICAgICAgICAg ", 1);
        for _ in 0..50 {
            // The same file, length and, on most kernels, time of change.
            for (line, want) in [(LINE, true), (&other, false)] {
                fs::write(&path, line).unwrap();
                assert_eq!(is_pinned(&keys), want);
            }
        }
    }

    #[test]
    #[ignore = "mounts file systems: run it in a mount namespace"]
    fn mounts_over_a_directory_are_seen_by_the_next_request() {
        let home = home();
        let keys = kept_in(home.path());
        let over = home.path().join(".config");
        crate::files::tests::mounts::mount(&over, &["-t", "tmpfs", "-o", "mode=0700", "none"]);
        assert!(!is_pinned(&keys));
        crate::files::tests::mounts::unmount_at(&over);
        assert!(is_pinned(&keys));
    }

    #[test]
    fn an_intent_finds_the_pinned_keys_of_its_user_id_and_version() {
        let home = home();
        let version_1 =
            LINE.replacen(" AQEBAQEBAQEBAQEBAQEBAQ ", " AgICAgICAgICAgICAgICAg ", 1).replacen(" v2 ", " v1 ", 1);
        fs::write(home.path().join(FILE), format!("{LINE}{version_1}")).unwrap();
        let keys =
            PinnedKeys::of(&OwnAccount::in_tests(home.path()), &ProviderId::parse("hpc").unwrap(), Clock::System);
        let check = |username: &str, wanted: KeyWanted, want: &[u8]| {
            let found = keys.matching(&Username::parse(username).unwrap(), wanted).unwrap();
            let ids: Vec<_> = found.iter().map(|key| key.kid()).collect();
            let want: Vec<_> = want.iter().map(|byte| KeyId::from_bytes([*byte; 16])).collect();
            assert_eq!(ids, want, "{username}");
        };
        check("alice", KeyWanted::Id(KeyId::from_bytes([1; 16])), &[1]);
        check("alice", KeyWanted::Id(KeyId::from_bytes([2; 16])), &[]);
        check("alice", KeyWanted::Version1, &[2]);
        check("bob", KeyWanted::Id(KeyId::from_bytes([1; 16])), &[]);
        check("bob", KeyWanted::Version1, &[]);
        let key = |username: &str, byte: u8| {
            keys.key(&Username::parse(username).unwrap(), KeyId::from_bytes([byte; 16])).unwrap().is_some()
        };
        assert_eq!([key("alice", 1), key("alice", 2), key("alice", 3), key("bob", 1)], [true, true, false, false]);
    }

    #[test]
    fn r03_an_instance_takes_the_keys_of_its_own_provider_and_those_of_no_provider() {
        let home = home();
        let account = OwnAccount::in_tests(home.path());
        let is_pinned_at =
            |at: &str| is_pinned(&PinnedKeys::of(&account, &ProviderId::parse(at).unwrap(), Clock::System));
        let check = |line: &str, want: (bool, bool)| {
            fs::write(home.path().join(FILE), line).unwrap();
            assert_eq!((is_pinned_at("hpc"), is_pinned_at("lab")), want, "{line}");
        };
        check(LINE, (true, true));
        check(&LINE.replacen(" v2", " v2 provider=hpc", 1), (true, false));
        check(&LINE.replacen(" v2", " v2 provider=lab", 1), (false, true));
    }
}
