//! Does the items of a bulk request: parses all of them before the first is done, then does them in
//! order until one fails.

use std::sync::Arc;

use countersign_keys::intent::Consent;

use super::copy::DEPTH_MAX;
use super::error::{FilesError, ItemAt, RequestError};
use super::operations::{copy_to, create_folder, empty_trash, move_to, trash};
use super::path::UcloudPath;
use super::progress::{Amount, Progress};
use super::relocate::CrossDevice;
use super::request::{ConflictPolicy, CreateFolder, ITEMS_MAX, MoveOrCopy, Trash};
use super::resolve::{EntryRef, Kind, Mounts};
use crate::drives::table::Drives;

/// How much of the first item a task's title shows, in characters.
const SUBJECT_MAX: usize = 300;

/// Whether work may take long, and so must not delay a browse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// A few system calls for each item.
    Quick,
    /// Takes as long as there is data.
    Long,
}

#[derive(Debug)]
pub(crate) struct Bulk {
    work: Work,
    drives: Arc<Drives>,
    /// Whether a person was asked about the change.
    consent: Consent,
}

#[derive(Debug)]
enum Work {
    CreateFolder(Vec<(UcloudPath, ConflictPolicy)>),
    Move(Vec<Transfer>),
    Copy(Vec<Transfer>),
    Trash(Vec<UcloudPath>),
    EmptyTrash(Vec<UcloudPath>),
}

#[derive(Debug)]
struct Transfer {
    from: UcloudPath,
    to: UcloudPath,
    policy: ConflictPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The item that failed, counted from 0. Those before it are done.
    pub(crate) item: usize,
    pub(crate) trouble: FilesError,
}

impl Bulk {
    pub(crate) fn create_folder(
        drives: &Arc<Drives>,
        items: &[CreateFolder],
        consent: Consent,
    ) -> Result<Self, RequestError> {
        let items = each(
            items,
            |item| item.id.clone(),
            |item| Ok((drives.parse(&item.id)?, ConflictPolicy::parse(&item.conflict_policy)?)),
        )?;
        Ok(Self { work: Work::CreateFolder(items), drives: Arc::clone(drives), consent })
    }

    pub(crate) fn moving(drives: &Arc<Drives>, items: &[MoveOrCopy], consent: Consent) -> Result<Self, RequestError> {
        Ok(Self { work: Work::Move(transfers(drives, items)?), drives: Arc::clone(drives), consent })
    }

    pub(crate) fn copying(drives: &Arc<Drives>, items: &[MoveOrCopy], consent: Consent) -> Result<Self, RequestError> {
        Ok(Self { work: Work::Copy(transfers(drives, items)?), drives: Arc::clone(drives), consent })
    }

    pub(crate) fn trashing(drives: &Arc<Drives>, items: &[Trash]) -> Result<Self, RequestError> {
        let work = Work::Trash(paths(drives, items)?);
        Ok(Self { work, drives: Arc::clone(drives), consent: Consent::Unasked })
    }

    pub(crate) fn emptying(drives: &Arc<Drives>, items: &[Trash]) -> Result<Self, RequestError> {
        let work = Work::EmptyTrash(paths(drives, items)?);
        Ok(Self { work, drives: Arc::clone(drives), consent: Consent::Unasked })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.work {
            Work::CreateFolder(items) => items.len(),
            Work::Move(items) | Work::Copy(items) => items.len(),
            Work::Trash(items) | Work::EmptyTrash(items) => items.len(),
        }
    }

    /// The queue for the work, apart from moves to another file system.
    pub(crate) fn queue(&self) -> Queue {
        match &self.work {
            Work::CreateFolder(_) | Work::Move(_) | Work::Trash(_) => Queue::Quick,
            Work::Copy(_) | Work::EmptyTrash(_) => Queue::Long,
        }
    }

    /// Does the items from `start` on, in order, up to the first that fails.
    pub(crate) fn run(&self, start: usize, crossing: CrossDevice, progress: &Progress) -> Result<(), Stop> {
        (start..self.len())
            .try_for_each(|item| self.item(item, crossing, progress).map_err(|trouble| Stop { item, trouble }))
    }

    /// Counts what there is to do, as far as this user can see it.
    pub(crate) fn measure(&self) -> Amount {
        let places: Vec<&UcloudPath> = match &self.work {
            Work::CreateFolder(_) => Vec::new(),
            Work::Move(items) | Work::Copy(items) => items.iter().map(|transfer| &transfer.from).collect(),
            Work::Trash(items) | Work::EmptyTrash(items) => items.iter().collect(),
        };
        let mut all = Amount::default();
        for path in places {
            if let Ok(slot) = self.drives.open(path).and_then(|place| place.slot()) {
                measure(&slot, 0, &mut all);
            }
        }
        // The trash folder itself stays, and removing reads no bytes.
        match &self.work {
            Work::EmptyTrash(items) => {
                let folders = u64::try_from(items.len()).unwrap_or(u64::MAX);
                Amount { files: all.files.saturating_sub(folders), bytes: 0 }
            }
            Work::CreateFolder(_) | Work::Move(_) | Work::Copy(_) | Work::Trash(_) => all,
        }
    }

    /// The title that UCloud shows: what is done, and with what.
    pub(crate) fn title(&self) -> (&'static str, String) {
        let what = match &self.work {
            Work::CreateFolder(_) => "Making folders",
            Work::Move(_) => "Moving files",
            Work::Copy(_) => "Copying files",
            Work::Trash(_) => "Moving files to the trash",
            Work::EmptyTrash(_) => "Emptying the trash",
        };
        let first: String = self.subject(0).unwrap_or_default().chars().take(SUBJECT_MAX).collect();
        match self.len() {
            0 | 1 => (what, first),
            items => (what, format!("{first}, and {} more", items.saturating_sub(1))),
        }
    }

    fn item(&self, item: usize, crossing: CrossDevice, progress: &Progress) -> Result<(), FilesError> {
        let open = |path: &UcloudPath| self.drives.open(path);
        let change = |path: &UcloudPath| self.drives.open_for_change(path, self.consent);
        match &self.work {
            Work::CreateFolder(items) => {
                items.get(item).map_or(Ok(()), |(path, policy)| create_folder(&change(path)?, *policy))
            }
            Work::Move(items) => items.get(item).map_or(Ok(()), |transfer| {
                move_to(&change(&transfer.from)?, &change(&transfer.to)?, transfer.policy, crossing, progress)
            }),
            Work::Copy(items) => items.get(item).map_or(Ok(()), |transfer| {
                copy_to(&open(&transfer.from)?, &change(&transfer.to)?, transfer.policy, progress)
            }),
            Work::Trash(items) => items.get(item).map_or(Ok(()), |path| trash(&open(path)?, crossing, progress)),
            Work::EmptyTrash(items) => items.get(item).map_or(Ok(()), |path| empty_trash(&open(path)?, progress)),
        }
    }

    /// The error for the item at which a run stopped.
    pub(crate) fn error(&self, stop: Stop) -> RequestError {
        let at = ItemAt { item: stop.item, of: self.len(), done: stop.item };
        RequestError::of_item(&self.subject(stop.item).unwrap_or_default(), stop.trouble, at)
    }

    fn subject(&self, item: usize) -> Option<String> {
        match &self.work {
            Work::CreateFolder(items) => items.get(item).map(|(path, _)| path.to_string()),
            Work::Move(items) | Work::Copy(items) => items.get(item).map(|transfer| both(&transfer.from, &transfer.to)),
            Work::Trash(items) | Work::EmptyTrash(items) => items.get(item).map(UcloudPath::to_string),
        }
    }
}

/// Adds up a file, or all that a folder holds on its file system.
fn measure(slot: &EntryRef, depth: usize, all: &mut Amount) {
    let Ok(stat) = slot.look() else { return };
    all.files = all.files.saturating_add(1);
    match Kind::of(&stat) {
        Kind::File => all.bytes = all.bytes.saturating_add(stat.st_size.unsigned_abs()),
        Kind::Folder if depth < DEPTH_MAX => {
            let Ok(folder) = slot.open_folder(Mounts::Enter, FilesError::walking) else { return };
            let Ok(names) = folder.names() else { return };
            for name in names.flatten() {
                if let Ok(slot) = slot.within(&folder, name) {
                    measure(&slot, depth.saturating_add(1), all);
                }
            }
        }
        Kind::Folder | Kind::Link | Kind::Special => {}
    }
}

fn both(from: impl std::fmt::Display, to: impl std::fmt::Display) -> String {
    format!("{from} → {to}")
}

fn transfers(drives: &Drives, items: &[MoveOrCopy]) -> Result<Vec<Transfer>, RequestError> {
    each(
        items,
        |item| both(&item.old_id, &item.new_id),
        |item| {
            Ok(Transfer {
                from: drives.parse(&item.old_id)?,
                to: drives.parse(&item.new_id)?,
                policy: ConflictPolicy::parse(&item.conflict_policy)?,
            })
        },
    )
}

fn paths(drives: &Drives, items: &[Trash]) -> Result<Vec<UcloudPath>, RequestError> {
    each(items, |item| item.id.clone(), |item| drives.parse(&item.id))
}

/// Parses all items. If one is malformed, none is done.
fn each<I, T>(
    items: &[I],
    subject: impl Fn(&I) -> String,
    parse: impl Fn(&I) -> Result<T, FilesError>,
) -> Result<Vec<T>, RequestError> {
    let of = items.len();
    if of > ITEMS_MAX {
        return Err(RequestError::whole(FilesError::TooManyItems { most: ITEMS_MAX }));
    }
    let parsed = items.iter().enumerate().map(|(index, item)| {
        parse(item)
            .map_err(|trouble| RequestError::of_item(&subject(item), trouble, ItemAt { item: index, of, done: 0 }))
    });
    parsed.collect()
}
