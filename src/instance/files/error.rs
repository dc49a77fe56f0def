//! What can go wrong with a user's files, and in whose words they hear of it.
//!
//! The process that says it is the user's own, so it may name the user's own paths. A path outside
//! the drive is never named, nor whether there is anything at it.

use nix::errno::Errno;

use super::path::PathError;
use super::protected::Whose;
use countersign_ipc::answers::ErrorCode;

/// Why one thing could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilesError {
    /// Its user stopped it.
    #[error("it was cancelled")]
    Cancelled,
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A conflict policy that UCloud does not have.
    #[error("there is no such conflict policy")]
    Policy,
    /// A sort key or direction that UCloud does not have.
    #[error("files cannot be sorted like that")]
    Sort,
    /// A `next` that this browse did not give.
    #[error("the page to go on from is not one of this listing's")]
    Cursor,
    /// Nothing to look for, or more than any name can be.
    #[error("a search needs some letters of a name")]
    Query,
    /// More items than one request may have.
    #[error("a request may have {most} items at most")]
    TooManyItems {
        /// How many it may have.
        most: usize,
    },
    /// A place from which programs start, which nobody was asked about.
    #[error("programs can start from this place, so the signer has to ask you first, and it did not")]
    NotAsked,
    /// The drive itself, where something in it was expected.
    #[error("that cannot be done to a drive as a whole")]
    WholeDrive,
    /// `emptyTrash` of something else.
    #[error("that is not the trash folder of a drive")]
    NotTrash,
    /// `trash` of the trash folder or of something in it.
    #[error("that is in the trash already")]
    InTrash,
    /// A folder into itself, or onto a folder that holds it.
    #[error("a folder cannot be put into itself, nor in place of one that holds it")]
    IntoItself,
    /// A pipe, socket or device.
    #[error("it is, or contains, a pipe, a socket or a device, and those cannot be copied")]
    Special,
    /// Deeper than a walk goes.
    #[error("its folders are nested too deeply")]
    TooDeep,
    /// The path leads out of the drive.
    #[error("the path leads out of the drive")]
    Outside,
    /// A folder that no drive gives access to, or something in it.
    #[error("{}", .0.sentence())]
    Protected(Whose),
    /// A folder above such a one, where it would be moved, copied, replaced or removed.
    #[error(
        "this folder holds files of Countersign's or your SSH keys: it cannot be moved, copied, replaced or removed through UCloud"
    )]
    HoldsProtected,
    /// The system denies it to this user.
    #[error("you do not have permission to do that")]
    Denied,
    /// No drive of that name in the configuration.
    #[error("there is no such drive")]
    NoDrive,
    /// The drive's folder does not exist, or is none.
    #[error("the folder of this drive does not exist")]
    DriveMissing,
    /// Nothing there.
    #[error("there is no such file or folder")]
    NotFound,
    /// A folder, or nothing that can be read through, where a file was needed.
    #[error("that is not a file")]
    NotAFile,
    /// Not a folder, where one was needed.
    #[error("that is not a folder")]
    NotAFolder,
    /// Something of that name is there.
    #[error("a file or folder of that name exists already")]
    Exists,
    /// `REPLACE` where one of the two is a folder.
    #[error(
        "a folder neither replaces anything nor is replaced: choose another name, or move what is there to the trash first"
    )]
    FolderNotReplaced,
    /// Somebody else uses or changes it.
    #[error("it is in use, or was changed meanwhile")]
    InUse,
    /// All is in place, but what it replaced or came from could not be removed entirely.
    #[error(
        "it is in its new place, but the old one could not be removed entirely ({why}); the rest of it is at `{rest}`"
    )]
    Remains {
        /// What stood in the way.
        why: Box<FilesError>,
        /// The name of what is left, in its folder.
        rest: String,
    },
    /// A walk that must not enter other file systems met one.
    #[error("another file system is mounted inside it")]
    Mounted,
    /// A piece of a file whose beginning has not come.
    #[error("a part of the file before this one is missing")]
    Gap,
    /// Disk or quota full.
    #[error("there is not enough space")]
    NoSpace,
    /// A folder whose names cannot be read in time.
    #[error("this folder holds too many files to be listed")]
    TooManyFiles,
    /// It was not looked at in time.
    #[error("the file system did not answer in time")]
    Slow,
    /// Too many long works under way.
    #[error("too much of this is under way already")]
    Busy,
    /// It lies on another file system, so moving it means copying it.
    #[error("it lies on another file system")]
    OtherDevice,
    /// The disk or the kernel failed.
    #[error("the file system failed: {0}")]
    Failed(Errno),
    /// The work ended without an outcome.
    #[error("the work was cut short")]
    CutShort,
}

impl FilesError {
    /// What the sender is told, beside the sentence.
    pub(crate) fn told(&self) -> ErrorCode {
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

    /// What it means that a path could not be resolved: here `EXDEV` and `ELOOP` say that it leads
    /// outside.
    pub(crate) fn resolving(errno: Errno) -> Self {
        if matches!(errno, Errno::EXDEV | Errno::ELOOP) { Self::Outside } else { Self::from(errno) }
    }
}

impl FilesError {
    /// What it means that an entry could not be opened that a walk had just seen: whoever put a
    /// link in its place meanwhile gets no further, and `EXDEV` says that something else is mounted
    /// there.
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
    /// What it means that an entry is not there that a walk had just seen.
    pub(crate) fn vanished(self) -> Self {
        if self == Self::NotFound { Self::InUse } else { self }
    }
}

impl From<Errno> for FilesError {
    /// What it means that a change on open folders failed: here `EXDEV` says that they are on two
    /// file systems.
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

/// How much of the paths is repeated to the sender, in characters: enough to recognise it.
const SUBJECT_SHOWN_MAX: usize = 512;

/// Which item of a request, and what went wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestError {
    /// What went wrong.
    pub(crate) trouble: FilesError,
    /// The path, or both, as the request had it; empty where the request as a whole is to blame.
    pub(crate) subject: String,
    /// Where in a bulk request; nothing for any other.
    pub(crate) at: Option<ItemAt>,
}

/// Where in a bulk request something went wrong. Items are done in order, and none after the first
/// that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ItemAt {
    /// Which item, counted from 0.
    pub(crate) item: usize,
    /// How many there are.
    pub(crate) of: usize,
    /// How many items were done, and stay done.
    pub(crate) done: usize,
}

impl RequestError {
    /// An error of a request that has one path only.
    pub(crate) fn single(subject: &str, trouble: FilesError) -> Self {
        Self { trouble, subject: subject.chars().take(SUBJECT_SHOWN_MAX).collect(), at: None }
    }

    /// An error of the request as a whole.
    pub(crate) fn whole(trouble: FilesError) -> Self {
        Self::single("", trouble)
    }

    /// An error of one item of a bulk request.
    pub(crate) fn of_item(subject: &str, trouble: FilesError, at: ItemAt) -> Self {
        Self { at: Some(at), ..Self::single(subject, trouble) }
    }

    /// What the sender is told, beside the sentence.
    pub(crate) fn told(&self) -> ErrorCode {
        self.trouble.told()
    }
}

impl std::error::Error for RequestError {}

impl std::fmt::Display for RequestError {
    /// What the user is told.
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
