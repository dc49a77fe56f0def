//! Changes a user's files, one item at a time. Each change is done as a whole, or an error says why
//! nothing was done. Only merging folders, which is many moves, can stop half-way: what was moved
//! by then stays in its new place.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::error::FilesError;
use super::path::{Name, UcloudPath};
use super::progress::Progress;
use super::relocate::{CrossDevice, RENAMES_MAX, duplicate, relocate};
use super::remove;
use super::request::ConflictPolicy;
use super::resolve::{EntryRef, Kind, Mounts, Root};
use super::startup::Change;

/// The name of a drive's trash folder, directly beneath its root.
pub(crate) const TRASH: &[u8] = b"Trash";

/// Permissions of a new folder, before the user's umask or the default access list of the folder
/// above it: those of mkdir(1).
fn folder_mode() -> Mode {
    Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO
}

/// The bits that let group or others write in a folder.
const SHARED: u32 = 0o022;

/// The bits that a shared drive's trash takes over from the drive's folder: permissions and the
/// sticky bit.
const LIKE_THE_DRIVE: u32 = 0o1777;

/// A path and its open drive.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) root: Root,
    pub(crate) path: UcloudPath,
    /// What a change has to satisfy; `None` for a location that is only read.
    pub(crate) change: Option<Change>,
}

impl Location {
    /// The open folder of the location, and its last name.
    pub(super) fn slot(&self) -> Result<EntryRef, FilesError> {
        if let Some(change) = &self.change {
            change.check_path(&self.path)?;
        }
        let slot = self.root.slot(self.path.inside())?;
        if let Some(change) = &self.change {
            change.check_slot(&slot)?;
        }
        Ok(slot)
    }

    fn is_in_trash(&self) -> bool {
        self.path.inside().first().is_some_and(|name| name.as_bytes() == TRASH)
    }
}

pub(crate) fn move_to(
    from: &Location,
    to: &Location,
    policy: ConflictPolicy,
    crossing: CrossDevice,
    progress: &Progress,
) -> Result<(), FilesError> {
    relocate(&from.slot()?, &to.slot()?, policy, crossing, progress)
}

pub(crate) fn copy_to(
    from: &Location,
    to: &Location,
    policy: ConflictPolicy,
    progress: &Progress,
) -> Result<(), FilesError> {
    duplicate(&from.slot()?, &to.slot()?, policy, progress)
}

/// Moves a file or folder into its drive's trash, which is made if it does not exist.
pub(crate) fn trash(place: &Location, crossing: CrossDevice, progress: &Progress) -> Result<(), FilesError> {
    if place.is_in_trash() {
        return Err(FilesError::InTrash);
    }
    let from = place.slot()?;
    // Looked at before the trash is made, so that a wrong path leaves no trash folder behind.
    from.look()?;
    let trash = trash_slot(&place.root)?;
    make_trash(&trash)?;
    let folder = trash.enter(Mounts::Enter, FilesError::resolving)?;
    let name = Name::from_bytes(from.name().to_vec())?;
    let to = trash.within(&folder, name)?;
    relocate(&from, &to, ConflictPolicy::Rename, crossing, progress)
}

/// Makes a drive's trash if it does not exist. Only its user can open it, except in a drive in
/// which others can write: there the trash takes over the drive's permissions. So an account that
/// may remove something from a shared folder may move it to the trash. A trash that its user made
/// private in a shared drive, as earlier versions did, is opened to them.
fn make_trash(trash: &EntryRef) -> Result<(), FilesError> {
    let drive = fstat(trash.folder())?;
    let is_shared = drive.st_mode & SHARED != 0;
    match mkdirat(trash.folder(), trash.name(), Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    if !is_shared || trash.look()?.st_uid != geteuid().as_raw() {
        return Ok(());
    }
    let folder = trash.open_folder(Mounts::Stay, FilesError::resolving)?;
    let made = fstat(&*folder)?;
    if made.st_mode & 0o077 == 0 {
        let set_by_the_kernel = made.st_mode & 0o7777 & !LIKE_THE_DRIVE;
        fchmod(&*folder, Mode::from_bits_truncate(set_by_the_kernel | drive.st_mode & LIKE_THE_DRIVE))?;
    }
    Ok(())
}

/// Removes everything in a drive's trash, for good.
pub(crate) fn empty_trash(place: &Location, progress: &Progress) -> Result<(), FilesError> {
    if !place.is_in_trash() || place.path.inside().len() != 1 {
        return Err(FilesError::NotTrash);
    }
    let trash = trash_slot(&place.root)?;
    let folder = trash.open_folder(Mounts::Stay, FilesError::resolving)?;
    remove::empty(&folder, progress)
}

fn trash_slot(root: &Root) -> Result<EntryRef, FilesError> {
    let name = Name::from_bytes(TRASH.to_vec())?;
    root.slot(&[name])
}

/// Makes a folder and the missing folders above it. `REPLACE` leaves an existing folder as it is:
/// the request does not include what it holds. A file in its place stays too.
pub(crate) fn create_folder(place: &Location, policy: ConflictPolicy) -> Result<(), FilesError> {
    in_new_folders(place, || make_folder(&place.slot()?, policy))
}

/// Makes the missing folders above a place, and does work there. If the work fails, the new folders
/// are removed.
pub(super) fn in_new_folders<T>(
    place: &Location,
    work: impl FnOnce() -> Result<T, FilesError>,
) -> Result<T, FilesError> {
    let mut made = Vec::new();
    let outcome = make_parents(place, &mut made).and_then(|()| work());
    if outcome.is_err() {
        for slot in made.iter().rev() {
            // A folder that is no longer empty belongs to another process.
            let _ = unlinkat(slot.folder(), slot.name(), UnlinkatFlags::RemoveDir);
        }
    }
    outcome
}

fn make_parents(place: &Location, made: &mut Vec<EntryRef>) -> Result<(), FilesError> {
    let Some((_, above)) = place.path.inside().split_last() else {
        return Err(FilesError::WholeDrive);
    };
    if let Some(change) = &place.change {
        change.check_path(&place.path)?;
    }
    let prefix = |length: usize| above.get(..length).unwrap_or(above);
    let open = |length: usize| match place.root.folder(prefix(length), OFlag::O_PATH) {
        Ok(folder) => Ok(Some(folder)),
        Err(FilesError::NotFound) => Ok(None),
        Err(trouble) => Err(trouble),
    };
    if open(above.len())?.is_some() {
        return Ok(());
    }
    // Finds the deepest folder that exists by bisection: few steps however deep the path is.
    let (mut there, mut missing) = (0, above.len());
    while missing - there > 1 {
        let middle = there.midpoint(missing);
        if open(middle)?.is_some() { there = middle } else { missing = middle }
    }
    let mut folder = open(there)?.ok_or(FilesError::NotFound)?;
    for (name, length) in above.iter().zip(1..).skip(there) {
        let slot = place.root.slot_in(folder, name.clone())?;
        folder = match mkdirat(slot.folder(), slot.name(), folder_mode()) {
            Ok(()) => {
                made.push(slot.clone());
                slot.enter(Mounts::Enter, FilesError::walking)?
            }
            // A link, or another process made it meanwhile.
            Err(Errno::EEXIST) => place.root.folder(prefix(length), OFlag::O_PATH)?,
            Err(errno) => return Err(errno.into()),
        };
    }
    Ok(())
}

fn make_folder(slot: &EntryRef, policy: ConflictPolicy) -> Result<(), FilesError> {
    let make = |slot: &EntryRef| mkdirat(slot.folder(), slot.name(), folder_mode());
    match make(slot) {
        Err(Errno::EEXIST) => {}
        outcome => return Ok(outcome?),
    }
    let is_folder = slot.look_if_any()?.is_some_and(|stat| Kind::of(&stat) == Kind::Folder);
    match policy {
        ConflictPolicy::Reject => Err(FilesError::Exists),
        ConflictPolicy::Replace | ConflictPolicy::MergeRename if is_folder => Ok(()),
        ConflictPolicy::Replace => Err(FilesError::FolderNotReplaced),
        ConflictPolicy::Rename | ConflictPolicy::MergeRename => {
            for number in 1..=RENAMES_MAX {
                match make(&slot.numbered(number)?) {
                    Err(Errno::EEXIST) => {}
                    outcome => return Ok(outcome?),
                }
            }
            Err(FilesError::Exists)
        }
    }
}
