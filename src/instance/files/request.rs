//! What a user may ask of files: the bound parameters of the files calls, and nothing that Core
//! adds.

use super::error::FilesError;

/// The page size that UCloud means by none.
pub(crate) const PAGE_DEFAULT: usize = 50;
/// The largest page that UCloud lets anybody ask for.
pub(crate) const PAGE_MAX: usize = 1000;
/// How many items one request may have: an intent signs as many at most.
pub(crate) const ITEMS_MAX: usize = 1000;

/// One call of the files API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilesRequest {
    /// A page of a folder's entries.
    Browse(Browse),
    /// One file or folder.
    Retrieve(Retrieve),
    /// New folders.
    CreateFolder(Vec<CreateFolder>),
    /// Files and folders to another place.
    Move(Vec<MoveOrCopy>),
    /// Files and folders to another place as well.
    Copy(Vec<MoveOrCopy>),
    /// Files and folders into the trash.
    Trash(Vec<Trash>),
    /// All that is in the trash, for good.
    EmptyTrash(Vec<Trash>),
}

/// `files/browse`. UCloud's `include…` flags have no place here: all that they ask for is always
/// told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Browse {
    /// `flags.path`.
    pub(crate) path: String,
    /// `itemsPerPage`; 0 or less means [`PAGE_DEFAULT`], more than [`PAGE_MAX`] means that.
    pub(crate) items_per_page: i64,
    /// `next`, as the page before gave it.
    pub(crate) next: Option<String>,
    /// `sortBy`: `PATH` (also if empty), `MODIFIED_AT` or `SIZE`.
    pub(crate) sort_by: String,
    /// `sortDirection`: `ascending` (also if empty) or `descending`.
    pub(crate) sort_direction: String,
    /// `flags.filterHiddenFiles`: leave out what begins with a dot.
    pub(crate) filter_hidden_files: bool,
    /// `flags.filterByFileExtension`: leave out files that end otherwise, whatever the case;
    /// folders stay.
    pub(crate) filter_by_file_extension: Option<String>,
}

/// `files/retrieve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retrieve {
    /// `retrieve.id`.
    pub(crate) id: String,
}

/// An item of `files/folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateFolder {
    /// `id`.
    pub(crate) id: String,
    /// `conflictPolicy`.
    pub(crate) conflict_policy: String,
}

/// An item of `files/move` or `files/copy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveOrCopy {
    /// `oldId`.
    pub(crate) old_id: String,
    /// `newId`.
    pub(crate) new_id: String,
    /// `conflictPolicy`.
    pub(crate) conflict_policy: String,
}

/// An item of `files/trash` or `files/emptyTrash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trash {
    /// `id`.
    pub(crate) id: String,
}

/// What happens if there is something of the wanted name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConflictPolicy {
    /// The newcomer is called `name(1)`. Meant by Go's empty string too, being the one that harms
    /// nothing.
    Rename,
    /// It is an error.
    Reject,
    /// The newcomer takes its place, in one step.
    Replace,
    /// Folders are merged, and files in them that meet are renamed.
    MergeRename,
}

impl ConflictPolicy {
    /// Reads it as UCloud writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        match text {
            "" | "RENAME" => Ok(Self::Rename),
            "REJECT" => Ok(Self::Reject),
            "REPLACE" => Ok(Self::Replace),
            "MERGE_RENAME" => Ok(Self::MergeRename),
            _ => Err(FilesError::Policy),
        }
    }
}

/// What files are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// Their names, whatever the case.
    Path,
    /// When their content last changed.
    ModifiedAt,
    /// Their own size; that of a folder is not that of what it holds.
    Size,
}

impl SortBy {
    /// Reads it as UCloud writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        match text {
            "" | "PATH" => Ok(Self::Path),
            "MODIFIED_AT" => Ok(Self::ModifiedAt),
            "SIZE" => Ok(Self::Size),
            _ => Err(FilesError::Sort),
        }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The least.
    Ascending,
    /// The most.
    Descending,
}

impl Direction {
    /// Reads it as UCloud writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        match text {
            "" | "ascending" => Ok(Self::Ascending),
            "descending" => Ok(Self::Descending),
            _ => Err(FilesError::Sort),
        }
    }
}
