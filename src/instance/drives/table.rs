//! The user's drives, configured and made by the user: the only table that says which folder a
//! drive id means.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::intent::Consent;
use nix::errno::Errno;

use crate::drives::ids::DriveNumbers;
use crate::files::error::FilesError;
use crate::files::leftovers::Unfinished;
use crate::files::operations::Location;
use crate::files::path::{NAME_BYTES_MAX, Name, UcloudPath};
use crate::files::protected::Protection;
use crate::files::resolve::Root;
use crate::files::startup::{Change, Home};
use countersign_config::UserDrives;

/// Why a table of drives is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrivesError {
    /// An id that cannot appear in a path.
    #[error("`{0}` cannot be the id of a drive")]
    Id(String),
    #[error("there are two drives with the id `{0}`")]
    Twice(String),
    /// A relative path would depend on the working directory.
    #[error("the path of drive `{0}` is not absolute")]
    Relative(String),
}

/// Drive ids and the folders that they mean.
#[derive(Debug, Clone)]
pub(crate) struct Drives {
    drives: UserDrives,
    /// UCloud's numbers for the drives.
    numbers: Arc<DriveNumbers>,
    protection: Arc<Protection>,
    unfinished: Arc<Unfinished>,
    home: Home,
}

impl Drives {
    /// Takes ids and absolute paths, in which `~` is already resolved. A folder that does not exist
    /// is an error only when it is used: it may be mounted later.
    pub(crate) fn new(drives: impl Into<UserDrives>) -> Result<Self, DrivesError> {
        let drives = drives.into();
        let mut ids = BTreeSet::new();
        for drive in drives.configured() {
            let id = &drive.id;
            let is_id = matches!(UcloudPath::parse(&format!("/{id}")), Ok(path) if path.drive() == id);
            if id.len() > NAME_BYTES_MAX || !is_id {
                return Err(DrivesError::Id(id.clone()));
            }
            if !drive.path.is_absolute() {
                return Err(DrivesError::Relative(id.clone()));
            }
            if !ids.insert(id) {
                return Err(DrivesError::Twice(id.clone()));
            }
        }
        drop(ids);
        let unfinished = Arc::new(Unfinished::unnoted());
        let protection = Arc::default();
        Ok(Self { drives, numbers: Arc::default(), protection, unfinished, home: Home::default() })
    }

    /// The same, with these pinned numbers.
    pub(crate) fn with_numbers(self, numbers: Arc<DriveNumbers>) -> Self {
        Self { numbers, ..self }
    }

    /// The same, without access to what is protected.
    pub(crate) fn with_protection(self, protection: Protection) -> Self {
        Self { protection: Arc::new(protection), ..self }
    }

    /// The same, with notes of unfinished copies in this directory.
    pub(crate) fn with_notes_in(self, directory: PathBuf) -> Self {
        Self { unfinished: Arc::new(Unfinished::noted_in(directory)), ..self }
    }

    /// The same, for the account with that home directory.
    pub(crate) fn with_home(self, home: &Path) -> Self {
        Self { home: Home::at(home), ..self }
    }

    pub(crate) fn numbers(&self) -> &DriveNumbers {
        &self.numbers
    }

    /// Removes the unfinished copies of killed instances; may take long.
    pub(crate) fn clean_up(&self) {
        self.unfinished.clean(&self.protection);
    }

    /// Parses a path, and refuses one whose drive is not in the table.
    pub(crate) fn parse(&self, text: &str) -> Result<UcloudPath, FilesError> {
        let path = UcloudPath::parse(text)?;
        self.folder(&path).map(|_known| path.clone())
    }

    /// Where a path is on this machine. What is there, and whether the user may use it, is not
    /// looked at.
    pub(crate) fn local(&self, text: &str) -> Result<PathBuf, FilesError> {
        let path = UcloudPath::parse(text)?;
        let folder = self.folder(&path)?;
        Ok(if path.inside().is_empty() { folder } else { folder.join(path.relative()) })
    }

    /// The folder of a path's drive.
    fn folder(&self, path: &UcloudPath) -> Result<PathBuf, FilesError> {
        let id = self.id(path.drive()).ok_or(FilesError::NoDrive)?;
        self.drives.folder(&id).ok_or(FilesError::NoDrive)
    }

    /// The id of a drive, given the id itself or a number that UCloud gave it. A drive's id is
    /// never a number.
    pub(crate) fn id(&self, named: &str) -> Option<String> {
        if self.drives.has(named) {
            return Some(named.to_owned());
        }
        self.numbers.meaning(named).filter(|id| self.drives.has(id))
    }

    pub(crate) const fn table(&self) -> &UserDrives {
        &self.drives
    }

    /// The roots of all drives, by UCloud's number where it is known.
    pub(crate) fn all(&self) -> Vec<UcloudPath> {
        let path = |id: &String| UcloudPath::parse(&format!("/{}", self.numbers.number_of(id).as_ref().unwrap_or(id)));
        self.drives.ids().iter().filter_map(|id| path(id).ok()).collect()
    }

    /// Refuses the folder of a drive that its user makes or removes, if the folder is protected or
    /// holds a protected one.
    pub(crate) fn check_made(&self, folder: &Path) -> Result<(), FilesError> {
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
            return Err(FilesError::WholeDrive);
        };
        let root = Root::at(parent, Arc::clone(&self.protection), Arc::clone(&self.unfinished))?;
        root.slot(&[Name::from_bytes(name.as_bytes().to_vec())?])?.look_if_any().map(drop)
    }

    /// Opens the drive of a path.
    pub(crate) fn open(&self, path: &UcloudPath) -> Result<Location, FilesError> {
        let folder = self.folder(path)?;
        let root = Root::at(&folder, Arc::clone(&self.protection), Arc::clone(&self.unfinished));
        let root = root.map_err(|errno| {
            if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
                FilesError::DriveMissing
            } else {
                FilesError::from(errno)
            }
        })?;
        Ok(Location { root, path: path.clone(), change: None })
    }

    /// Opens the drive of a path for a change, with what the intent says about the user's consent.
    pub(crate) fn open_for_change(&self, path: &UcloudPath, consent: Consent) -> Result<Location, FilesError> {
        let change = Change::on(&self.folder(path)?, &self.home, consent);
        Ok(Location { change: Some(change), ..self.open(path)? })
    }

    /// Whether every change on a drive needs the user's consent, because its folder can start
    /// programs.
    pub(crate) fn is_startup(&self, id: &str) -> bool {
        self.drives.folder(id).is_some_and(|folder| self.home.covers(&folder))
    }
}
