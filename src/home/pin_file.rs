//! The file of a user's pinned keys, `~/.config/countersign/authorized_keys`. The user's own
//! processes change it: commands, and the instance at the request of the user's browser.
//!
//! Reads and writes as the user, never as root, by the rules of
//! [`countersign_config::user_file`]. Keeps comment lines unchanged. Refuses every change if a
//! line cannot be parsed, because it may be a key that the user believes pinned.

use std::path::{Path, PathBuf};

use countersign_keys::identity::{KeyId, ProviderId, Uid, Username};
use countersign_keys::keyring::KeyRecord;
use countersign_keys::pins::{PINS_MAX, PinRejection, Pins};

use crate::own_directory::{OwnDirectory, WriteFailure};
use countersign_config::user_file::{self, UserFileFailure};

/// Where pins and instance keys are, below the home directory.
pub const DIRECTORY: [&str; 2] = [".config", "countersign"];

/// The file of pins in that directory.
const FILE: &str = "authorized_keys";

#[derive(Debug, thiserror::Error)]
pub enum PinFailure {
    /// The file, or a directory above it, could have been written by others.
    #[error(transparent)]
    Strict(#[from] UserFileFailure),
    #[error(transparent)]
    Write(#[from] WriteFailure),
    #[error("{path} is not UTF-8")]
    Text { path: PathBuf },
    /// A line cannot be parsed.
    #[error("{path} has to be mended by hand")]
    Line {
        path: PathBuf,
        /// The line, and the reason.
        source: PinRejection,
    },
}

/// The pinned keys of an account. Changes only the lines of one provider.
#[derive(Clone, Debug)]
pub struct PinFile {
    home: PathBuf,
    owner: Uid,
    provider: ProviderId,
}

impl PinFile {
    pub fn of(home: &Path, owner: Uid, provider: &ProviderId) -> Self {
        Self { home: home.to_owned(), owner, provider: provider.clone() }
    }

    /// The provider whose keys are added and removed.
    pub const fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// For messages.
    pub fn path(&self) -> PathBuf {
        let mut path = self.home.clone();
        path.extend(DIRECTORY.iter().chain(&[FILE]));
        path
    }

    /// Reads the pins. A missing file has none.
    pub fn read(&self) -> Result<Pins, PinFailure> {
        let beneath: PathBuf = DIRECTORY.iter().chain(&[FILE]).collect();
        let opened = match user_file::open(&self.home, &beneath, self.owner) {
            Err(failure) if failure.is_absence() => return Ok(Pins::default()),
            opened => opened?,
        };
        self.parse(opened.read(PINS_MAX)?)
    }

    /// Pins a key, replacing one of the same user and id.
    pub fn add(&self, record: KeyRecord) -> Result<Before, PinFailure> {
        let mut before = Before::NoKeys;
        self.change(|pins| {
            if pins.keys_at(&self.provider).next().is_some() {
                before = Before::Keys;
            }
            pins.add(&self.provider, record);
            true
        })?;
        Ok(before)
    }

    /// Pins a key, unless the same key is already pinned for its user: then that line stays and
    /// counts.
    pub fn add_once(&self, record: KeyRecord) -> Result<Pinned, PinFailure> {
        let mut pinned = Pinned { record: record.clone(), was_pinned: WasPinned::No };
        self.change(|pins| {
            let is_same = |key: &&KeyRecord| {
                key.owner == record.owner && key.spki == record.spki && key.protocol == record.protocol
            };
            if let Some(same) = pins.keys_at(&self.provider).find(is_same) {
                pinned = Pinned { record: same.clone(), was_pinned: WasPinned::Yes };
                return false;
            }
            pins.add(&self.provider, record);
            true
        })?;
        Ok(pinned)
    }

    /// Unpins a key; whether it was pinned.
    pub fn remove(&self, owner: &Username, kid: KeyId) -> Result<bool, PinFailure> {
        self.remove_where(|key| key.owner == *owner && key.kid == kid).map(|count| count > 0)
    }

    /// Unpins every key of this provider that `is_meant` selects; returns how many.
    pub fn remove_where(&self, is_meant: impl Fn(&KeyRecord) -> bool) -> Result<usize, PinFailure> {
        let meant = |pins: &Pins| -> Vec<(Username, KeyId)> {
            pins.keys_at(&self.provider).filter(|key| is_meant(key)).map(|key| (key.owner.clone(), key.kid)).collect()
        };
        // If nothing changes, no directory is created and no file written.
        if meant(&self.read()?).is_empty() {
            return Ok(0);
        }
        let mut count = 0;
        self.change(|pins| {
            let gone = meant(pins);
            count = gone.len();
            gone.iter().for_each(|(owner, kid)| {
                pins.remove(&self.provider, owner, *kid);
            });
            count > 0
        })?;
        Ok(count)
    }

    /// Reads, changes and writes under the directory's lock. Writes only if `change` returns
    /// `true`.
    fn change(&self, change: impl FnOnce(&mut Pins) -> bool) -> Result<(), PinFailure> {
        let directory = OwnDirectory::make(&self.home, self.owner, &DIRECTORY)?;
        let mut pins = match directory.strict().open(FILE) {
            Ok(opened) => self.parse(opened.read(PINS_MAX)?)?,
            Err(failure) if failure.is_absence() => Pins::default(),
            Err(failure) => return Err(failure.into()),
        };
        if change(&mut pins) {
            directory.replace(FILE, pins.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn parse(&self, bytes: Vec<u8>) -> Result<Pins, PinFailure> {
        let text = String::from_utf8(bytes).map_err(|_| PinFailure::Text { path: self.path() })?;
        Pins::parse(&text).map_err(|source| PinFailure::Line { path: self.path(), source })
    }
}

/// Whether a key of the provider was pinned before one was added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Before {
    /// None, so no intent can ever have been used there.
    NoKeys,
    Keys,
}

#[derive(Clone, Debug)]
pub struct Pinned {
    pub record: KeyRecord,
    pub was_pinned: WasPinned,
}

/// Whether a key was pinned before it was to be added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WasPinned {
    Yes,
    No,
}
