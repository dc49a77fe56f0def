//! The bound parameters of the files calls, without anything that Core adds.

use super::error::FilesError;

/// UCloud's default page size.
pub(crate) const PAGE_DEFAULT: usize = 50;
/// UCloud's largest page.
pub(crate) const PAGE_MAX: usize = 1000;
/// Most items of one request: an intent signs at most as many.
pub(crate) const ITEMS_MAX: usize = 1000;

/// One call of the files API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilesRequest {
    Browse(Browse),
    Retrieve(Retrieve),
    CreateFolder(Vec<CreateFolder>),
    Move(Vec<MoveOrCopy>),
    Copy(Vec<MoveOrCopy>),
    Trash(Vec<Trash>),
    /// Removes everything in the trash, for good.
    EmptyTrash(Vec<Trash>),
}

/// `files/browse`. UCloud's `include…` flags have no place here: what they ask for is always
/// included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Browse {
    /// `flags.path`.
    pub(crate) path: String,
    /// `itemsPerPage`; 0 or less means [`PAGE_DEFAULT`], more than [`PAGE_MAX`] means [`PAGE_MAX`].
    pub(crate) items_per_page: i64,
    /// `next`, as the previous page returned it.
    pub(crate) next: Option<String>,
    /// `sortBy`: `PATH` (also if empty), `MODIFIED_AT` or `SIZE`.
    pub(crate) sort_by: String,
    /// `sortDirection`: `ascending` (also if empty) or `descending`.
    pub(crate) sort_direction: String,
    /// `flags.filterHiddenFiles`: leave out names that begin with a dot.
    pub(crate) filter_hidden_files: bool,
    /// `flags.filterByFileExtension`: leave out files with another extension, ignoring case;
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
    pub(crate) id: String,
    pub(crate) conflict_policy: String,
}

/// An item of `files/move` or `files/copy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveOrCopy {
    pub(crate) old_id: String,
    pub(crate) new_id: String,
    pub(crate) conflict_policy: String,
}

/// An item of `files/trash` or `files/emptyTrash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trash {
    pub(crate) id: String,
}

/// What happens if the target name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConflictPolicy {
    /// The new file is called `name(1)`. Also the meaning of an empty string, Go's zero value,
    /// because it destroys nothing.
    Rename,
    Reject,
    /// The new file replaces the old one in one step.
    Replace,
    /// Folders are merged, and files that meet are renamed.
    MergeRename,
}

impl ConflictPolicy {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// By name, ignoring case.
    Path,
    /// By the time of the last change of content.
    ModifiedAt,
    /// By their own size; a folder's size does not include its content.
    Size,
}

impl SortBy {
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        match text {
            "" | "PATH" => Ok(Self::Path),
            "MODIFIED_AT" => Ok(Self::ModifiedAt),
            "SIZE" => Ok(Self::Size),
            _ => Err(FilesError::Sort),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        match text {
            "" | "ascending" => Ok(Self::Ascending),
            "descending" => Ok(Self::Descending),
            _ => Err(FilesError::Sort),
        }
    }
}
