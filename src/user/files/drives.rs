//! The drives of the configuration: the only table that says which folder a drive id means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::errno::Errno;

use super::beneath::Root;
use super::change::Place;
use super::error::Trouble;
use super::path::{NAME_BYTES_MAX, UcloudPath};

/// Why a table of drives is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DrivesError {
    /// An id that cannot stand in a path.
    #[error("`{0}` cannot be the id of a drive")]
    Id(String),
    /// Two drives of one id.
    #[error("there are two drives with the id `{0}`")]
    Twice(String),
    /// A path that depends on where the process was started.
    #[error("the path of drive `{0}` is not absolute")]
    Relative(String),
}

/// Drive ids and the folders that they mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drives(BTreeMap<String, PathBuf>);

impl Drives {
    /// Takes ids and absolute paths, in which `~` is resolved already. Whether the folders exist shows when
    /// they are used: one may be mounted later.
    pub(crate) fn new(drives: impl IntoIterator<Item = (String, PathBuf)>) -> Result<Self, DrivesError> {
        let mut table = BTreeMap::new();
        for (id, path) in drives {
            let is_id = matches!(UcloudPath::parse(&format!("/{id}")), Ok(path) if path.drive() == id);
            if id.len() > NAME_BYTES_MAX || !is_id {
                return Err(DrivesError::Id(id));
            }
            if !path.is_absolute() {
                return Err(DrivesError::Relative(id));
            }
            if table.contains_key(&id) {
                return Err(DrivesError::Twice(id));
            }
            table.insert(id, path);
        }
        Ok(Self(table))
    }

    /// Reads a path, and refuses one whose drive is not in the table.
    pub(crate) fn parse(&self, text: &str) -> Result<UcloudPath, Trouble> {
        let path = UcloudPath::parse(text)?;
        if self.0.contains_key(path.drive()) { Ok(path) } else { Err(Trouble::NoDrive) }
    }

    /// Opens the drive of a path.
    pub(crate) fn open(&self, path: &UcloudPath) -> Result<Place, Trouble> {
        let folder = self.0.get(path.drive()).ok_or(Trouble::NoDrive)?;
        let root = Root::open(folder).map_err(|errno| {
            if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) { Trouble::DriveMissing } else { Trouble::from(errno) }
        })?;
        Ok(Place { root, path: path.clone() })
    }
}
