//! `~/.config/countersign/authorized_keys`, the keys that the user has pinned, and how commands change it.
//!
//! It is read and written as its user, never as root, and by the rules of [`crate::config::strict_file`]. Lines that are no
//! keys are kept as they are; a line that cannot be read stops every change, since it may be a key that its owner thinks pinned.

use std::path::PathBuf;

use countersign_keys::identity::{KeyId, Username};
use countersign_keys::keyring::KeyRecord;
use countersign_keys::pins::{PINS_MAX, PinRejection, Pins};

use crate::commands::account::Account;
use crate::commands::own_directory::{OwnDirectory, WriteFailure};
use crate::config::strict_file::{self, StrictFileFailure};
use crate::exit::Exit;

/// Where pins and instance key are, below the home directory.
pub(super) const DIRECTORY: [&str; 2] = [".config", "countersign"];

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

impl PinFailure {
    /// The exit code: a file that others could have written is refused by a rule.
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Strict(failure) | Self::Write(WriteFailure::Strict(failure)) if failure.is_exposure() => {
                Exit::Refused
            }
            Self::Strict(_) | Self::Write(_) | Self::Text { .. } | Self::Line { .. } => Exit::Failure,
        }
    }
}

/// The pinned keys of an account.
#[derive(Debug)]
pub(super) struct PinFile<'a> {
    account: &'a Account,
}

impl<'a> PinFile<'a> {
    pub(super) const fn of(account: &'a Account) -> Self {
        Self { account }
    }

    /// The file's path, for messages.
    pub(super) fn path(&self) -> PathBuf {
        let mut path = self.account.home().to_owned();
        path.extend(DIRECTORY.iter().chain(&[FILE]));
        path
    }

    /// Reads the pins. Without a file there are none.
    pub(super) fn read(&self) -> Result<Pins, PinFailure> {
        let beneath: PathBuf = DIRECTORY.iter().chain(&[FILE]).collect();
        let opened = match strict_file::open(self.account.home(), &beneath, self.account.uid()) {
            Err(failure) if failure.is_absence() => return Ok(Pins::default()),
            opened => opened?,
        };
        self.parse(opened.read(PINS_MAX)?)
    }

    /// Pins a key, in place of one of the same user and id.
    pub(super) fn add(&self, record: KeyRecord) -> Result<Before, PinFailure> {
        let mut before = Before::NoKeys;
        self.change(|pins| {
            if pins.keys().next().is_some() {
                before = Before::Keys;
            }
            pins.add(record);
            true
        })?;
        Ok(before)
    }

    /// Unpins a key; says whether it was pinned.
    pub(super) fn remove(&self, owner: &Username, kid: KeyId) -> Result<bool, PinFailure> {
        self.remove_where(|key| key.owner == *owner && key.kid == kid).map(|count| count > 0)
    }

    /// Unpins every key that is meant; says how many.
    pub(super) fn remove_where(&self, is_meant: impl Fn(&KeyRecord) -> bool) -> Result<usize, PinFailure> {
        let meant = |pins: &Pins| -> Vec<(Username, KeyId)> {
            pins.keys().filter(|key| is_meant(key)).map(|key| (key.owner.clone(), key.kid)).collect()
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
                pins.remove(owner, *kid);
            });
            count > 0
        })?;
        Ok(count)
    }

    /// Reads, changes and writes under the directory's lock. Nothing is written unless `change` says so.
    fn change(&self, change: impl FnOnce(&mut Pins) -> bool) -> Result<(), PinFailure> {
        let directory = OwnDirectory::make(self.account, &DIRECTORY)?;
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

/// Whether anything was pinned before a key was added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Before {
    /// Nothing: no intent can ever have been used here.
    NoKeys,
    /// At least one key.
    Keys,
}
