//! A file for a download: opened once, and identified by its state at that time.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::error::FilesError;
use super::operations::Location;
use super::resolve::Kind;

#[derive(Debug)]
pub(crate) struct Outgoing {
    file: File,
    /// Its name, as the user knows it.
    pub(crate) name: String,
    /// Its length when it was opened, in bytes.
    pub(crate) length: u64,
    /// When its content last changed.
    pub(crate) modified: SystemTime,
    /// An entity tag for this very content: inode, length, and times of change. Other content would
    /// differ in one of them.
    pub(crate) tag: String,
}

#[cfg(fuzzing)]
impl Outgoing {
    /// A file of that length, last changed at that time.
    pub(crate) fn fuzzed(file: File, length: u64, modified: SystemTime) -> Self {
        Self { file, name: String::new(), length, modified, tag: "\"tag\"".to_owned() }
    }
}

impl Outgoing {
    /// Opens a file, following links as long as they stay in the drive.
    pub(crate) fn open(place: &Location) -> Result<Self, FilesError> {
        let name = place.path.inside().last().ok_or(FilesError::WholeDrive)?.text();
        // With `O_NONBLOCK`, opening a pipe does not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let (file, stat) = place.root.file(place.path.inside(), flags).map_err(|trouble| {
            if trouble == FilesError::Failed(Errno::ENXIO) { FilesError::NotAFile } else { trouble }
        })?;
        if Kind::of(&stat) != Kind::File {
            return Err(FilesError::NotAFile);
        }
        let length = u64::try_from(stat.st_size).map_err(|_| FilesError::Failed(Errno::EOVERFLOW))?;
        let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        let modified = SystemTime::UNIX_EPOCH.checked_add(seconds).unwrap_or(SystemTime::UNIX_EPOCH);
        let tag = format!(
            "\"{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}\"",
            stat.st_dev, stat.st_ino, length, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec
        );
        Ok(Self { file: File::from(file), name, length, modified, tag })
    }

    /// Reads what there is at an offset, at most the buffer. Nothing at the end of the file.
    pub(crate) fn read_some(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Fills the buffer from an offset. A file that has become shorter is an error: the promised
    /// length cannot be sent.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}
