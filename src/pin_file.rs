//! `~/.config/countersign/authorized_keys`, the keys that the user has pinned, and how the user's
//! own processes change it: commands, and the instance when the user's browser asks.
//!
//! It is read and written as its user, never as root, and by the rules of
//! [`crate::config::strict_file`]. Lines that are no keys are kept as they are; a line that cannot
//! be read stops every change, since it may be a key that its owner thinks pinned.

use std::path::{Path, PathBuf};

use countersign_keys::identity::{KeyId, ProviderId, Uid, Username};
use countersign_keys::keyring::KeyRecord;
use countersign_keys::pins::{PINS_MAX, PinRejection, Pins};

use crate::config::strict_file::{self, StrictFileFailure};
use crate::own_directory::{OwnDirectory, WriteFailure};

/// Where pins and instance key are, below the home directory.
pub(crate) const DIRECTORY: [&str; 2] = [".config", "countersign"];

/// The pins' file in it.
const FILE: &str = "authorized_keys";

/// Why the pinned keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinFailure {
    /// The file, or a directory above it, could have been written by others.
    #[error(transparent)]
    Strict(#[from] StrictFileFailure),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteFailure),
    /// It is not text.
    #[error("{path} is not UTF-8")]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// A line of it cannot be read.
    #[error("{path} has to be mended by hand")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        source: PinRejection,
    },
}

/// The pinned keys of an account, as one provider changes them: the lines of others stay as they
/// are.
#[derive(Clone, Debug)]
pub(crate) struct PinFile {
    home: PathBuf,
    owner: Uid,
    provider: ProviderId,
}

impl PinFile {
    /// Those of the account with that home, at that provider.
    pub(crate) fn of(home: &Path, owner: Uid, provider: &ProviderId) -> Self {
        Self { home: home.to_owned(), owner, provider: provider.clone() }
    }

    /// Whose keys are added and removed.
    pub(crate) const fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The file's path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        let mut path = self.home.clone();
        path.extend(DIRECTORY.iter().chain(&[FILE]));
        path
    }

    /// Reads the pins. Without a file there are none.
    pub(crate) fn read(&self) -> Result<Pins, PinFailure> {
        let beneath: PathBuf = DIRECTORY.iter().chain(&[FILE]).collect();
        let opened = match strict_file::open(&self.home, &beneath, self.owner) {
            Err(failure) if failure.is_absence() => return Ok(Pins::default()),
            opened => opened?,
        };
        self.parse(opened.read(PINS_MAX)?)
    }

    /// Pins a key, in place of one of the same user and id.
    pub(crate) fn add(&self, record: KeyRecord) -> Result<Before, PinFailure> {
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

    /// Pins a key, unless the very same key is pinned for its user already: then nothing changes,
    /// and that line is what counts.
    pub(crate) fn add_once(&self, record: KeyRecord) -> Result<Pinned, PinFailure> {
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

    /// Unpins a key; says whether it was pinned.
    pub(crate) fn remove(&self, owner: &Username, kid: KeyId) -> Result<bool, PinFailure> {
        self.remove_where(|key| key.owner == *owner && key.kid == kid).map(|count| count > 0)
    }

    /// Unpins every key that is meant and counts at this provider; says how many.
    pub(crate) fn remove_where(&self, is_meant: impl Fn(&KeyRecord) -> bool) -> Result<usize, PinFailure> {
        let meant = |pins: &Pins| -> Vec<(Username, KeyId)> {
            pins.keys_at(&self.provider).filter(|key| is_meant(key)).map(|key| (key.owner.clone(), key.kid)).collect()
        };
        // No directory is made, and no file is written, for nothing.
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

    /// Reads, changes and writes under the directory's lock. Nothing is written unless `change`
    /// says so.
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

/// Whether anything that counts at the provider was pinned before a key was added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Before {
    /// Nothing: no intent can ever have been used there.
    NoKeys,
    /// At least one key.
    Keys,
}

/// A key that is pinned now.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// Its line.
    pub(crate) record: KeyRecord,
    /// Whether it was there before.
    pub(crate) was_pinned: WasPinned,
}

/// Whether a key was pinned before somebody asked for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WasPinned {
    /// It was.
    Yes,
    /// It was not.
    No,
}
