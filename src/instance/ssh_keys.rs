//! Installs the SSH keys that a user gave UCloud in the user's own `~/.ssh/authorized_keys`.
//!
//! UCloud sends the whole list after any change, and the user signs its keys. Anyone who holds one
//! of them can log in as the user, so this is off unless the site enables it. Countersign's lines
//! end in a mark and are replaced together; every other line stays byte for byte. The file is
//! replaced as a whole. Like sshd's StrictModes, the module refuses a file or directory that others
//! could have written (P3).

#[cfg(fuzzing)]
pub mod fuzzing;
mod public_key;

use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use serde_json::{Value, json};

use self::public_key::{SshKeyRejection, SshPublicKey};
use crate::account::OwnAccount;
use countersign_config::SshKeysOf;
use countersign_config::user_file::{CheckedDirectory, UserFileFailure};
use countersign_home::own_directory::{OwnDirectory, WriteFailure};
use countersign_ipc::error_code::ErrorCode;
use countersign_os::log::Chain;

/// Where sshd looks, relative to the home directory.
const DIRECTORY: &str = ".ssh";

const FILE: &str = "authorized_keys";

/// The end of every line that Countersign manages. UCloud's own integration modules use the same
/// mark, so that a site can switch between them.
const MARK: &str = " ucloud-integration";

/// Most keys that are installed for one user. A person has a few, and sshd tries them all.
const KEYS_MAX: usize = 100;

/// In bytes. A longer file is not changed.
const FILE_MAX: usize = 1024 * 1024;

/// Why some or all of the keys are not installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The site has not enabled it.
    #[error("this provider does not install SSH keys")]
    Off,
    /// More than [`KEYS_MAX`].
    #[error("there are {0} SSH keys, and at most {KEYS_MAX} can be installed: nothing was changed")]
    TooMany(usize),
    #[error("SSH key {number} of {of} is not installed: {rejection}. The others are ({refused} refused in all)")]
    Key {
        /// The first refused key, counted from 1 in the order in which keys are signed.
        number: usize,
        /// The number of keys in the list.
        of: usize,
        /// The number of refused keys.
        refused: usize,
        /// Why the first refused key was refused.
        rejection: SshKeyRejection,
    },
    /// Another account could have written the file, or it cannot be opened.
    #[error("the SSH keys were not changed: {}", Chain(.0))]
    Strict(UserFileFailure),
    /// The file belongs to root.
    #[error("the SSH keys were not changed: {} belongs to uid {owner}, and is not the user's to change", path.display())]
    Foreign { path: PathBuf, owner: Uid },
    #[error("the SSH keys were not changed: {}", Chain(.0))]
    Write(WriteFailure),
    /// The blocking task panicked or was cancelled.
    #[error("the work was cut short")]
    CutShort,
}

impl From<WriteFailure> for InstallError {
    fn from(cause: WriteFailure) -> Self {
        // Not a source: the message already contains its text.
        Self::Write(cause)
    }
}

impl From<UserFileFailure> for InstallError {
    fn from(cause: UserFileFailure) -> Self {
        // Not a source: the message already contains its text.
        Self::Strict(cause)
    }
}

impl InstallError {
    /// The error code in the answer. UCloud hides the message of a 5xx, and users can repair their
    /// own file.
    pub(crate) fn error_code(&self) -> ErrorCode {
        match self {
            Self::Off => ErrorCode::NotFound,
            Self::TooMany(_) | Self::Key { .. } => ErrorCode::KeyRefused,
            Self::Strict(_) | Self::Foreign { .. } | Self::Write(WriteFailure::Strict(_)) => ErrorCode::Conflict,
            Self::Write(failure) if failure.is_full() => ErrorCode::NoSpace,
            Self::Write(_) | Self::CutShort => ErrorCode::Failed,
        }
    }
}

/// The SSH keys of one account.
#[derive(Clone, Debug)]
pub(crate) struct SshKeys {
    home: PathBuf,
    owner: Uid,
    of: SshKeysOf,
}

impl SshKeys {
    /// The keys of this account, as far as the site enables them.
    pub(crate) fn of(account: &OwnAccount, of: SshKeysOf) -> Self {
        Self { home: account.home().to_owned(), owner: account.uid(), of }
    }

    /// Installs the keys that the user signed. Keys that UCloud installed before are removed.
    pub(crate) async fn install(&self, keys: Vec<String>) -> Result<Value, InstallError> {
        if self.of == SshKeysOf::NoOne {
            return Err(InstallError::Off);
        }
        let (home, owner) = (self.home.clone(), self.owner);
        let work = tokio::task::spawn_blocking(move || install(&home, owner, &keys));
        work.await.map_err(|_cut| InstallError::CutShort)??;
        Ok(json!({}))
    }
}

/// Replaces Countersign's lines with these keys. An invalid key is left out and reported, so that
/// it cannot prevent the removal of another key.
fn install(home: &Path, owner: Uid, texts: &[String]) -> Result<(), InstallError> {
    if texts.len() > KEYS_MAX {
        return Err(InstallError::TooMany(texts.len()));
    }
    let mut keys: Vec<SshPublicKey> = Vec::new();
    let mut refused = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match SshPublicKey::parse(text) {
            Ok(key) if keys.iter().any(|other| other.is_same(&key)) => {}
            Ok(key) => keys.push(key),
            Err(rejection) => refused.push((index, rejection)),
        }
    }
    replace_ours(home, owner, &keys)?;
    match refused.first() {
        None => Ok(()),
        Some((index, rejection)) => Err(InstallError::Key {
            number: index.saturating_add(1),
            of: texts.len(),
            refused: refused.len(),
            rejection: *rejection,
        }),
    }
}

fn replace_ours(home: &Path, owner: Uid, keys: &[SshPublicKey]) -> Result<(), InstallError> {
    // Without keys, no directory is created.
    if keys.is_empty() && is_absent(home, owner)? {
        return Ok(());
    }
    let directory = OwnDirectory::make(home, owner, &[DIRECTORY])?;
    let before = read(directory.strict(), owner)?;
    let after = with_ours(&before, keys);
    if after != before {
        directory.replace(FILE, &after)?;
    }
    Ok(())
}

fn is_absent(home: &Path, owner: Uid) -> Result<bool, InstallError> {
    match CheckedDirectory::home(home, owner)?.enter(DIRECTORY).and_then(|directory| directory.open(FILE)) {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_absence() => Ok(true),
        Err(failure) => Err(failure.into()),
    }
}

/// The file's content, empty if the file is missing. A file of root's is left alone even in the
/// user's directory: root decided what it says.
fn read(directory: &CheckedDirectory, owner: Uid) -> Result<Vec<u8>, InstallError> {
    match directory.open(FILE) {
        Ok(opened) if opened.owner() != owner => {
            Err(InstallError::Foreign { path: directory.path().join(FILE), owner: opened.owner() })
        }
        Ok(opened) => Ok(opened.read(FILE_MAX)?),
        Err(failure) if failure.is_absence() => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

/// The other lines unchanged, then Countersign's.
fn with_ours(file: &[u8], keys: &[SshPublicKey]) -> Vec<u8> {
    let others = file.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_ours(line));
    let mut text: Vec<u8> = others.flatten().copied().collect();
    // An unterminated last line would otherwise join with the first new line.
    if !keys.is_empty() && text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for key in keys {
        text.extend_from_slice(format!("{key}{MARK}\n").as_bytes());
    }
    text
}

/// Whether a line ends in the mark. A comment line never counts.
fn is_ours(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(MARK.as_bytes()) && !line.trim_ascii_start().starts_with(b"#")
}

#[cfg(test)]
mod tests;
