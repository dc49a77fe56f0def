//! The SSH keys that a user has given UCloud, in the user's own `~/.ssh/authorized_keys`.
//!
//! UCloud sends the whole list after any change, and the user signs its keys. Whoever has one of
//! them can log in as the user, so this is off unless the site says otherwise. Our lines end in a
//! mark and are replaced together; every other line stays byte for byte. The file is replaced whole
//! (P3: as sshd's StrictModes, nothing is written where others could have).

#[cfg(fuzzing)]
pub mod fuzzing;
mod public_key;

use std::path::{Path, PathBuf};

use countersign_keys::bind::Items;
use countersign_keys::identity::Uid;
use countersign_keys::json::Json;
use serde_json::{Value, json};

use self::public_key::{SshKeyRejection, SshPublicKey};
use crate::account::OwnAccount;
use countersign_config::SshKeysOf;
use countersign_config::strict_file::{StrictDirectory, StrictFileFailure};
use countersign_home::own_directory::{OwnDirectory, WriteFailure};
use countersign_ipc::answers::ErrorCode;
use countersign_os::log::Chain;

/// Where sshd looks, below the home directory.
const DIRECTORY: &str = ".ssh";

/// The file in it.
const FILE: &str = "authorized_keys";

/// How a line of ours ends: as UCloud's own integration modules mark them, so that a site may
/// change from one to the other.
const MARK: &str = " ucloud-integration";

/// Keys that are installed for a user at most: a person has some, and sshd tries them all.
const KEYS_MAX: usize = 100;

/// The longest file that is changed, in bytes.
const FILE_MAX: usize = 1024 * 1024;

/// Why not all of the keys are installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInstalled {
    /// The site does not want it.
    #[error("this provider does not install SSH keys")]
    Off,
    /// More keys than are installed.
    #[error("there are {0} SSH keys, and at most {KEYS_MAX} can be installed: nothing was changed")]
    TooMany(usize),
    /// One of the keys is refused.
    #[error("SSH key {number} of {of} is not installed: {rejection}. The others are ({refused} refused in all)")]
    Key {
        /// The first that is, counted from 1 in the order in which keys are signed.
        number: usize,
        /// How many there are.
        of: usize,
        /// How many are refused.
        refused: usize,
        /// Why the first is.
        rejection: SshKeyRejection,
    },
    /// Somebody else could have written the file, or it cannot be opened.
    #[error("the SSH keys were not changed: {}", Chain(.0))]
    Strict(StrictFileFailure),
    /// The file is root's.
    #[error("the SSH keys were not changed: {} belongs to uid {owner}, and is not the user's to change", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: Uid,
    },
    /// It cannot be written.
    #[error("the SSH keys were not changed: {}", Chain(.0))]
    Write(WriteFailure),
    /// The work was ended from outside.
    #[error("the work was cut short")]
    CutShort,
}

impl From<WriteFailure> for NotInstalled {
    fn from(cause: WriteFailure) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Write(cause)
    }
}

impl From<StrictFileFailure> for NotInstalled {
    fn from(cause: StrictFileFailure) -> Self {
        // Not as a source: its text is part of this one's.
        Self::Strict(cause)
    }
}

impl NotInstalled {
    /// What the sender is told, beside the sentence. UCloud hides the sentence of a 5xx, and the
    /// user can mend their own file.
    pub(crate) fn told(&self) -> ErrorCode {
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
    /// Those of the account, at a site that wants it so.
    pub(crate) fn of(account: &OwnAccount, of: SshKeysOf) -> Self {
        Self { home: account.home().to_owned(), owner: account.uid(), of }
    }

    /// Installs the keys that the user signed, and no other of UCloud's.
    pub(crate) async fn install_signed(&self, items: &Items<'_>) -> Result<Value, NotInstalled> {
        if self.of == SshKeysOf::NoOne {
            return Err(NotInstalled::Off);
        }
        let keys = items.projections().first().map(|item| item.parameter("keys"));
        let keys: Vec<String> = keys
            .and_then(Json::elements)
            .unwrap_or_default()
            .iter()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        let (home, owner) = (self.home.clone(), self.owner);
        let work = tokio::task::spawn_blocking(move || install(&home, owner, &keys));
        work.await.map_err(|_cut| NotInstalled::CutShort)??;
        Ok(json!({}))
    }
}

/// Puts these keys in the place of ours. What is no key is left out and told, so that it keeps no
/// other key from being taken away.
fn install(home: &Path, owner: Uid, texts: &[String]) -> Result<(), NotInstalled> {
    if texts.len() > KEYS_MAX {
        return Err(NotInstalled::TooMany(texts.len()));
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
        Some((index, rejection)) => Err(NotInstalled::Key {
            number: index.saturating_add(1),
            of: texts.len(),
            refused: refused.len(),
            rejection: *rejection,
        }),
    }
}

fn replace_ours(home: &Path, owner: Uid, keys: &[SshPublicKey]) -> Result<(), NotInstalled> {
    // No directory is made for nothing.
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

/// Whether there is no file of any kind.
fn is_absent(home: &Path, owner: Uid) -> Result<bool, NotInstalled> {
    match StrictDirectory::home(home, owner)?.enter(DIRECTORY).and_then(|directory| directory.open(FILE)) {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_absence() => Ok(true),
        Err(failure) => Err(failure.into()),
    }
}

/// The file as it is; without one, nothing. One that root put there is root's decision, though the
/// directory be the user's.
fn read(directory: &StrictDirectory, owner: Uid) -> Result<Vec<u8>, NotInstalled> {
    match directory.open(FILE) {
        Ok(opened) if opened.owner() != owner => {
            Err(NotInstalled::Foreign { path: directory.path().join(FILE), owner: opened.owner() })
        }
        Ok(opened) => Ok(opened.read(FILE_MAX)?),
        Err(failure) if failure.is_absence() => Ok(Vec::new()),
        Err(failure) => Err(failure.into()),
    }
}

/// Everybody else's lines as they were, then ours.
fn with_ours(file: &[u8], keys: &[SshPublicKey]) -> Vec<u8> {
    let others = file.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_ours(line));
    let mut text: Vec<u8> = others.flatten().copied().collect();
    // A last line without its end would otherwise run into ours.
    if !keys.is_empty() && text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    for key in keys {
        text.extend_from_slice(format!("{key}{MARK}\n").as_bytes());
    }
    text
}

/// Whether a line has our mark at its end. A comment has not, whatever it says.
fn is_ours(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(MARK.as_bytes()) && !line.trim_ascii_start().starts_with(b"#")
}

#[cfg(test)]
mod tests;
