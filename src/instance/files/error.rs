//! Errors of operations on a user's files, with the text that the user gets.
//!
//! The process runs as the user, so an error may name the user's own paths. It never names a path
//! outside the drive, nor whether anything exists there.

use nix::errno::Errno;

use super::path::PathError;
use super::protected::Whose;
use countersign_ipc::error_code::ErrorCode;

/// Why an operation on one file failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("it was cancelled")]
    Cancelled,
    #[error(transparent)]
    Path(#[from] PathError),
    /// A conflict policy that UCloud does not have.
    #[error("there is no such conflict policy")]
    Policy,
    /// A sort key or direction that UCloud does not have.
    #[error("files cannot be sorted like that")]
    Sort,
    /// A `next` that this browse did not return.
    #[error("the page to continue from is not one of this listing: open the folder again")]
    Cursor,
    /// An empty query, or one longer than any name.
    #[error("a search needs some letters of a name")]
    Query,
    #[error("a request may have {most} items at most")]
    TooManyItems { most: usize },
    /// A place from which programs start, without the user's consent.
    #[error("programs can start from this place, so the signer has to ask you first, and it did not")]
    NotAsked,
    /// The drive itself, where something in it was expected.
    #[error("that cannot be done to a drive as a whole")]
    WholeDrive,
    /// `emptyTrash` of something else.
    #[error("that is not the trash folder of a drive")]
    NotTrash,
    /// `trash` of the trash folder, or of something in it.
    #[error("that is in the trash already")]
    InTrash,
    #[error("a folder cannot be put into itself, nor in place of one that holds it")]
    IntoItself,
    #[error("it is, or contains, a pipe, a socket or a device, and those cannot be copied")]
    Special,
    /// Deeper than the deepest walk.
    #[error("its folders are nested too deeply")]
    TooDeep,
    #[error("the path leads out of the drive")]
    Outside,
    /// A protected folder, or something in it.
    #[error("{}", .0.sentence())]
    Protected(Whose),
    /// A folder above a protected one, which would be moved, copied, replaced or removed.
    #[error(
        "this folder holds files of Countersign's or your SSH keys: it cannot be moved, copied, replaced or removed through UCloud"
    )]
    HoldsProtected,
    #[error("you do not have permission to do that")]
    Denied,
    #[error("there is no such drive")]
    NoDrive,
    /// The drive's folder does not exist, or is not a folder.
    #[error("the folder of this drive does not exist")]
    DriveMissing,
    #[error("there is no such file or folder")]
    NotFound,
    /// Something other than a regular file where a file was needed.
    #[error("that is not a file")]
    NotAFile,
    #[error("that is not a folder")]
    NotAFolder,
    #[error("a file or folder of that name exists already")]
    Exists,
    /// `REPLACE` where one of the two is a folder.
    #[error(
        "a folder neither replaces anything nor is replaced: choose another name, or move what is there to the trash first"
    )]
    FolderNotReplaced,
    /// Another process uses or changes it.
    #[error("it is in use, or was changed meanwhile")]
    InUse,
    /// The result is in place, but what it replaced or came from could not be removed entirely.
    #[error(
        "it is in its new place, but the old one could not be removed entirely ({why}); the rest of it is at `{rest}`"
    )]
    Remains {
        why: Box<FilesError>,
        /// The name of what is left, in its folder.
        rest: String,
    },
    /// A walk that must not enter other file systems met one.
    #[error("another file system is mounted inside it")]
    Mounted,
    /// A piece of a file, before the piece that precedes it.
    #[error("a part of the file before this one is missing")]
    Gap,
    /// Disk or quota full.
    #[error("there is not enough space")]
    NoSpace,
    /// A folder whose names cannot be read in time.
    #[error("this folder holds too many files to be listed")]
    TooManyFiles,
    #[error("the file system did not answer in time")]
    Slow,
    /// Too many changes run or wait.
    #[error("too many changes are in progress: try again later")]
    Busy,
    /// Moving it would mean copying it.
    #[error("it lies on another file system")]
    OtherDevice,
    #[error("the file system failed: {0}")]
    Failed(Errno),
    /// The blocking task ended without an outcome.
    #[error("the work was cut short")]
    CutShort,
}

impl FilesError {
    /// The error code of the answer, beside the text.
    pub(crate) fn error_code(&self) -> ErrorCode {
        match self {
            Self::Path(_)
            | Self::Policy
            | Self::Sort
            | Self::Cursor
            | Self::Query
            | Self::TooManyItems { .. }
            | Self::WholeDrive
            | Self::NotTrash
            | Self::InTrash
            | Self::IntoItself
            | Self::Special
            | Self::TooDeep => ErrorCode::Malformed,
            Self::Outside | Self::Denied | Self::NotAsked => ErrorCode::Forbidden,
            Self::Protected(_) | Self::HoldsProtected => ErrorCode::Protected,
            Self::NoDrive | Self::DriveMissing | Self::NotFound | Self::NotAFolder | Self::NotAFile => {
                ErrorCode::NotFound
            }
            Self::Exists
            | Self::FolderNotReplaced
            | Self::TooManyFiles
            | Self::InUse
            | Self::Remains { .. }
            | Self::Mounted
            | Self::OtherDevice
            | Self::Gap
            | Self::Cancelled => ErrorCode::Conflict,
            Self::NoSpace => ErrorCode::NoSpace,
            Self::Busy => ErrorCode::TooMany,
            Self::Failed(_) | Self::Slow | Self::CutShort => ErrorCode::Failed,
        }
    }

    /// The meaning of an error while resolving a path: `EXDEV` and `ELOOP` say that the path leads
    /// out of the drive.
    pub(crate) fn resolving(errno: Errno) -> Self {
        if matches!(errno, Errno::EXDEV | Errno::ELOOP) { Self::Outside } else { Self::from(errno) }
    }
}

impl FilesError {
    /// The meaning of an error when opening an entry that a walk just saw. A link put in its place
    /// meanwhile is not followed, and `EXDEV` says that another file system is mounted there.
    pub(crate) fn walking(errno: Errno) -> Self {
        if errno == Errno::EXDEV {
            Self::Mounted
        } else if matches!(errno, Errno::ELOOP | Errno::ENOTDIR | Errno::ENOENT) {
            Self::InUse
        } else {
            Self::from(errno)
        }
    }
}

impl FilesError {
    /// The meaning of an absent entry that a walk just saw.
    pub(crate) fn vanished(self) -> Self {
        if self == Self::NotFound { Self::InUse } else { self }
    }
}

impl From<Errno> for FilesError {
    /// The meaning of an error of a change on open folders: `EXDEV` says that they are on two file
    /// systems.
    #[expect(clippy::wildcard_enum_match_arm, reason = "errno has 133 values; the rest are failures of the system")]
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::NotFound,
            Errno::EEXIST | Errno::ENOTEMPTY | Errno::EISDIR => Self::Exists,
            Errno::ENOTDIR => Self::NotAFolder,
            Errno::EACCES | Errno::EPERM | Errno::EROFS => Self::Denied,
            Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Self::NoSpace,
            Errno::ENAMETOOLONG => Self::Path(PathError::NameTooLong),
            Errno::EXDEV => Self::OtherDevice,
            Errno::EBUSY | Errno::ETXTBSY | Errno::EAGAIN | Errno::ESTALE => Self::InUse,
            other => Self::Failed(other),
        }
    }
}

impl From<std::io::Error> for FilesError {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::from(Errno::from_raw(number)),
            None => Self::Failed(Errno::EIO),
        }
    }
}

/// Most characters of a path that an error repeats: enough to recognise it.
const SUBJECT_SHOWN_MAX: usize = 512;

/// An error, with the item of the request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestError {
    pub(crate) trouble: FilesError,
    /// The path, or both paths, as the request has them; empty if the request as a whole failed.
    pub(crate) subject: String,
    /// The position in a bulk request; `None` for any other request.
    pub(crate) at: Option<ItemAt>,
}

/// A position in a bulk request. Items are done in order, up to the first that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ItemAt {
    /// Which item, counted from 0.
    pub(crate) item: usize,
    /// How many items there are.
    pub(crate) of: usize,
    /// How many items were done, and stay done.
    pub(crate) done: usize,
}

impl RequestError {
    /// An error of a request that has only one path.
    pub(crate) fn single(subject: &str, trouble: FilesError) -> Self {
        Self { trouble, subject: subject.chars().take(SUBJECT_SHOWN_MAX).collect(), at: None }
    }

    pub(crate) fn whole(trouble: FilesError) -> Self {
        Self::single("", trouble)
    }

    pub(crate) fn of_item(subject: &str, trouble: FilesError, at: ItemAt) -> Self {
        Self { at: Some(at), ..Self::single(subject, trouble) }
    }

    /// The error code of the answer, beside the text.
    pub(crate) fn error_code(&self) -> ErrorCode {
        self.trouble.error_code()
    }
}

impl std::error::Error for RequestError {}

impl std::fmt::Display for RequestError {
    /// The text for the user.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        write!(f, "{}", self.trouble)?;
        match self.at {
            Some(ItemAt { item, of, done }) if of > 1 => {
                write!(f, " (item {} of {of}; {done} of them were done)", item + 1)
            }
            Some(_) | None => Ok(()),
        }
    }
}
