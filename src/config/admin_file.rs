//! Files that decide something but are not secret: readable by all, writable by few.
//!
//! Checks the descriptor that is then read, so that the file cannot be exchanged in between.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use countersign_keys::identity::Uid;
use nix::fcntl::OFlag;

/// Longest configuration, in bytes: a few hundred rows of `[[calls]]` and as many drives fit.
pub(super) const CONFIG_MAX: u64 = 1024 * 1024;

/// Longest key or bundle of certificates, in bytes. The system's whole bundle is about 250 KiB.
pub(super) const PEM_MAX: u64 = 1024 * 1024;

/// Permission bits with which others than the owner could write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Debug, thiserror::Error)]
pub enum FileReason {
    #[error("cannot open {path}")]
    Open {
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A directory, a device or a pipe.
    #[error("{path} is not a regular file")]
    NotRegular { path: PathBuf },
    #[error("{path} is not a directory")]
    NotDirectory { path: PathBuf },
    /// Another account owns it.
    #[error("{path} belongs to uid {owner}, and must belong to root or to uid {reader}, which reads it")]
    Owner {
        path: PathBuf,
        owner: Uid,
        /// The account that reads it.
        reader: Uid,
    },
    #[error("{path} has mode {mode:04o}: others can write it; chmod go-w {path}")]
    Writable {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret that others can read.
    #[error("{path} has mode {mode:04o}, and must have 0600 or 0400: chmod 0600 {path}")]
    Exposed {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory that others can enter.
    #[error("{path} has mode {mode:04o}, and must have 0700: chmod 0700 {path}")]
    Enterable {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A program that is not executable.
    #[error("{path} is not executable: chmod +x {path}")]
    NotExecutable { path: PathBuf },
    #[error("{path} is longer than {max} bytes")]
    TooLong {
        path: PathBuf,
        /// The limit, in bytes.
        max: u64,
    },
    #[error("{path} is empty")]
    Empty { path: PathBuf },
    /// The directory of the server's socket, below `/run`, which each boot empties.
    #[error("{path} does not exist; it is made at each boot by: systemd-tmpfiles --create countersign.conf")]
    NoRunDirectory { path: PathBuf },
    /// Not exactly one token.
    #[error("{path} is not one token: remove further lines, spaces and a byte order mark")]
    NotToken { path: PathBuf },
    /// Not UTF-8.
    #[error("{path} is not text")]
    NotText { path: PathBuf },
}

impl FileReason {
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Reads a file that only root or the reader can have written.
pub fn read_text(path: &Path, max: u64, reader: Uid) -> Result<String, FileReason> {
    let (file, metadata) = open(path)?;
    refuse_written_by_others(path, &metadata, reader)?;
    read_limited(path, file, max)
}

/// As [`read_text`], with any content.
pub(super) fn read_bytes(path: &Path, max: u64, reader: Uid) -> Result<Vec<u8>, FileReason> {
    let (file, metadata) = open(path)?;
    refuse_written_by_others(path, &metadata, reader)?;
    bytes_limited(path, file, max)
}

/// Checks a program that only root or the reader can have written.
pub(super) fn check_program(path: &Path, reader: Uid) -> Result<(), FileReason> {
    let (_file, metadata) = open(path)?;
    refuse_written_by_others(path, &metadata, reader)?;
    if metadata.mode() & 0o111 == 0 {
        return Err(FileReason::NotExecutable { path: path.to_owned() });
    }
    Ok(())
}

/// Checks a directory in which only root or the reader can create files.
pub fn check_directory(path: &Path, reader: Uid) -> Result<Metadata, FileReason> {
    let metadata = std::fs::metadata(path).map_err(|source| FileReason::Open { path: path.to_owned(), source })?;
    if !metadata.is_dir() {
        return Err(FileReason::NotDirectory { path: path.to_owned() });
    }
    refuse_written_by_others(path, &metadata, reader)?;
    Ok(metadata)
}

/// Checks a directory that only the reader can enter.
pub(super) fn check_private_directory(path: &Path, reader: Uid) -> Result<(), FileReason> {
    let metadata = check_directory(path, reader)?;
    let mode = permissions(&metadata);
    if mode & 0o077 != 0 {
        return Err(FileReason::Enterable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Opens a regular file. Does not block on a pipe.
pub(super) fn open(path: &Path) -> Result<(File, Metadata), FileReason> {
    let failed = |source| FileReason::Open { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FileReason::NotRegular { path: path.to_owned() });
    }
    Ok((file, metadata))
}

/// Refuses a file that belongs neither to root nor to the reader.
pub(super) fn refuse_owned_by_others(path: &Path, metadata: &Metadata, reader: Uid) -> Result<(), FileReason> {
    let owner = Uid(metadata.uid());
    if owner == Uid(0) || owner == reader {
        return Ok(());
    }
    Err(FileReason::Owner { path: path.to_owned(), owner, reader })
}

fn refuse_written_by_others(path: &Path, metadata: &Metadata, reader: Uid) -> Result<(), FileReason> {
    refuse_owned_by_others(path, metadata, reader)?;
    let mode = permissions(metadata);
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(FileReason::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

pub(super) fn permissions(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Reads an open file to its end, up to a limit in bytes.
pub(super) fn read_limited(path: &Path, file: File, max: u64) -> Result<String, FileReason> {
    String::from_utf8(bytes_limited(path, file, max)?).map_err(|_| FileReason::NotText { path: path.to_owned() })
}

fn bytes_limited(path: &Path, file: File, max: u64) -> Result<Vec<u8>, FileReason> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| FileReason::Open { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).map_or(true, |length| length > max) {
        return Err(FileReason::TooLong { path: path.to_owned(), max });
    }
    Ok(bytes)
}
