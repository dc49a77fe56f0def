//! Reads one page of a folder in order, without holding or looking at the whole folder.
//!
//! Every page reads all names of the folder but keeps only as many as it shows. It looks (`stat`)
//! only at those, unless the order needs more. `next` is a position: it names the entry after which
//! to continue, not a number to skip. So files that come and go meanwhile neither repeat others nor
//! hide them. It grants nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

use super::entry::ProviderFile;
use super::error::FilesError;
use super::path::{Name, UcloudPath};
use super::request::{Browse, Direction, PAGE_DEFAULT, PAGE_MAX, SortBy};
use super::resolve::{Folder, Kind, Root};

/// How many names are read between two looks at the clock.
const NAMES_BETWEEN: usize = 1024;

/// Longest `next` that is read: a name with every byte escaped, as JSON and base64.
const CURSOR_TEXT_MAX: usize = 4096;

/// UCloud's `PageV2` of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    items: Vec<ProviderFile>,
    items_per_page: usize,
    next: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Listing {
    size: usize,
    order: Order,
    after: Option<Position>,
    hide_dotted: bool,
    extension: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    by: SortBy,
    direction: Direction,
}

/// An entry's position in the order: by key, then by case-folded name, then by name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    direction: Direction,
    key: i64,
    folded: String,
    name: Name,
}

impl Position {
    fn new(direction: Direction, key: i64, name: Name) -> Self {
        Self { direction, key, folded: name.text().to_lowercase(), name }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let ascending = self
            .key
            .cmp(&other.key)
            .then_with(|| self.folded.cmp(&other.folded))
            .then_with(|| self.name.cmp(&other.name));
        match self.direction {
            Direction::Ascending => ascending,
            Direction::Descending => ascending.reverse(),
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The content of `next`, as base64url of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The order, so that a cursor of another order is refused.
    o: u8,
    /// The key of the last entry shown.
    k: i64,
    /// The name of the last entry shown.
    n: String,
}

impl Order {
    fn number(self) -> u8 {
        match (self.by, self.direction) {
            (SortBy::Path, Direction::Ascending) => 1,
            (SortBy::Path, Direction::Descending) => 2,
            (SortBy::ModifiedAt, Direction::Ascending) => 3,
            (SortBy::ModifiedAt, Direction::Descending) => 4,
            (SortBy::Size, Direction::Ascending) => 5,
            (SortBy::Size, Direction::Descending) => 6,
        }
    }

    fn to_next(self, last: &Position) -> Result<String, FilesError> {
        let cursor = Cursor { o: self.number(), k: last.key, n: last.name.text() };
        let json = serde_json::to_vec(&cursor).map_err(|_| FilesError::Cursor)?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    fn position_after(self, next: &str) -> Result<Position, FilesError> {
        if next.len() > CURSOR_TEXT_MAX {
            return Err(FilesError::Cursor);
        }
        let json = URL_SAFE_NO_PAD.decode(next).map_err(|_| FilesError::Cursor)?;
        let cursor: Cursor = serde_json::from_slice(&json).map_err(|_| FilesError::Cursor)?;
        if cursor.o != self.number() {
            return Err(FilesError::Cursor);
        }
        let name = Name::parse(&cursor.n).map_err(|_| FilesError::Cursor)?;
        Ok(Position::new(self.direction, cursor.k, name))
    }
}

#[cfg(fuzzing)]
impl Listing {
    /// Asserts that a cursor has one spelling.
    pub(super) fn holds(&self) {
        assert!((1..=PAGE_MAX).contains(&self.size));
        if let Some(after) = &self.after {
            let next = self.order.to_next(after).unwrap_or_default();
            let again = self.order.position_after(&next).ok();
            assert!(again.is_some_and(|again| again.key == after.key && again.name == after.name));
        }
    }
}

impl Listing {
    /// Parses a browse, apart from its path.
    pub(crate) fn parse(request: &Browse) -> Result<Self, FilesError> {
        let order =
            Order { by: SortBy::parse(&request.sort_by)?, direction: Direction::parse(&request.sort_direction)? };
        let size = match usize::try_from(request.items_per_page) {
            Ok(0) | Err(_) => PAGE_DEFAULT,
            Ok(size) => size.min(PAGE_MAX),
        };
        let next = request.next.as_deref().filter(|next| !next.is_empty());
        let extension = request.filter_by_file_extension.as_deref().unwrap_or_default();
        let extension = extension.trim_start_matches('.').to_lowercase();
        Ok(Self {
            size,
            order,
            after: next.map(|next| order.position_after(next)).transpose()?,
            hide_dotted: request.filter_hidden_files,
            extension: Some(extension).filter(|extension| !extension.is_empty()),
        })
    }

    /// Reads the page; fails if the folder's names cannot be read before `end`.
    pub(crate) fn read(&self, root: &Root, path: &UcloudPath, end: Instant) -> Result<Page, FilesError> {
        let folder = root.folder(path.inside(), OFlag::O_RDONLY)?;
        let (kept, more) = self.select(root, path, &folder, end)?;
        let next = match kept.last() {
            Some(last) if more => Some(self.order.to_next(last)?),
            Some(_) | None => None,
        };
        let mut items = Vec::with_capacity(kept.len());
        for position in kept {
            if let Some(stat) = look(root, path, &folder, &position.name)? {
                items.push(ProviderFile::describe(&path.child(position.name), &stat));
            }
        }
        Ok(Page { items, items_per_page: self.size, next })
    }

    /// The first entries after the cursor, in order, and whether there are more.
    fn select(
        &self,
        root: &Root,
        path: &UcloudPath,
        folder: &Folder,
        end: Instant,
    ) -> Result<(Vec<Position>, bool), FilesError> {
        let mut least = BinaryHeap::with_capacity(self.size);
        let mut more = false;
        for (number, name) in folder.names()?.enumerate() {
            if number % NAMES_BETWEEN == NAMES_BETWEEN - 1 && Instant::now() >= end {
                return Err(FilesError::TooManyFiles);
            }
            let name = name?;
            let Some(position) = self.admit(root, path, folder, name)? else {
                continue;
            };
            if self.after.as_ref().is_some_and(|after| position <= *after) {
                continue;
            }
            if least.len() >= self.size {
                more = true;
                if least.peek().is_some_and(|worst| position > *worst) {
                    continue;
                }
                least.pop();
            }
            least.push(position);
        }
        Ok((least.into_sorted_vec(), more))
    }

    /// The position of an entry, or `None` if the listing leaves it out.
    fn admit(
        &self,
        root: &Root,
        path: &UcloudPath,
        folder: &Folder,
        name: Name,
    ) -> Result<Option<Position>, FilesError> {
        if self.hide_dotted && name.as_bytes().starts_with(b".") {
            return Ok(None);
        }
        let filtered = self.extension.as_ref().is_some_and(|wanted| !has_extension(&name, wanted));
        if !filtered && self.order.by == SortBy::Path {
            return Ok(Some(Position::new(self.order.direction, 0, name)));
        }
        let Some(stat) = look(root, path, folder, &name)? else {
            return Ok(None);
        };
        if filtered && Kind::of(&stat) != Kind::Folder {
            return Ok(None);
        }
        let key = match self.order.by {
            SortBy::Path => 0,
            SortBy::ModifiedAt => stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec),
            SortBy::Size => stat.st_size,
        };
        Ok(Some(Position::new(self.order.direction, key, name)))
    }
}

fn has_extension(name: &Name, wanted: &str) -> bool {
    name.text().to_lowercase().strip_suffix(wanted).is_some_and(|rest| rest.ends_with('.'))
}

/// Looks at an entry; `None` if it vanished. A link that stays in the drive counts as its target.
/// Any other link counts as itself: a small file.
fn look(root: &Root, path: &UcloudPath, folder: &Folder, name: &Name) -> Result<Option<FileStat>, FilesError> {
    let Some(stat) = folder.look(name)? else {
        return Ok(None);
    };
    if Kind::of(&stat) != Kind::Link {
        return Ok(Some(stat));
    }
    Ok(Some(root.look(path.child(name.clone()).inside()).unwrap_or(stat)))
}

/// One file, by its path. Follows links as long as they stay in the drive.
pub(crate) fn retrieve(root: &Root, path: &UcloudPath) -> Result<ProviderFile, FilesError> {
    Ok(ProviderFile::describe(path, &root.look(path.inside())?))
}
