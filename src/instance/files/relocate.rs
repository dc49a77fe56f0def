//! Moves something to a place that may be taken: the four conflict policies.
//!
//! Moving to another file system means copying. That takes long, so the caller has to allow it. The
//! source is removed only after the copy is complete, in its place and safe on disk.

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::copy::{DEPTH_MAX, StagedCopy};
use super::error::FilesError;
use super::progress::Progress;
use super::remove::remove;
use super::rename::{rename_new, rename_over, scratch};
use super::request::ConflictPolicy;
use super::resolve::{EntryRef, Identity, Kind, Mounts};

/// Largest number that a taken name gets: UCloud's limit.
pub(crate) const RENAMES_MAX: u32 = 9999;
/// Most names of a folder held at once while it is merged.
const NAMES_MAX: usize = 4096;

/// Whether a move may turn into a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrossDevice {
    /// No: fails with [`FilesError::OtherDevice`]. Then nothing has been changed, or only part of a
    /// merge.
    Refuse,
    /// Yes; it may take long.
    Copy,
}

pub(crate) fn relocate(
    from: &EntryRef,
    to: &EntryRef,
    policy: ConflictPolicy,
    crossing: CrossDevice,
    progress: &Progress,
) -> Result<(), FilesError> {
    let stat = from.look()?;
    if let Some(target) = to.look_if_any()?
        && is_same_entry(&stat, &target, from, to)
    {
        return match policy {
            ConflictPolicy::Reject => Err(FilesError::Exists),
            ConflictPolicy::Rename | ConflictPolicy::Replace | ConflictPolicy::MergeRename => Ok(()),
        };
    }
    refuse_entangled(&stat, from, to, policy)?;
    if policy == ConflictPolicy::Replace {
        refuse_folder(from, to)?;
    }
    Step { policy, crossing, progress }.take(from, to, 0)
}

pub(crate) fn duplicate(
    from: &EntryRef,
    to: &EntryRef,
    policy: ConflictPolicy,
    progress: &Progress,
) -> Result<(), FilesError> {
    let stat = from.look()?;
    if policy == ConflictPolicy::Reject && to.look_if_any()?.is_some() {
        return Err(FilesError::Exists);
    }
    refuse_entangled(&stat, from, to, policy)?;
    if policy == ConflictPolicy::Replace {
        refuse_folder(from, to)?;
    }
    let step = Step { policy, crossing: CrossDevice::Refuse, progress };
    StagedCopy::copy(from, to, Mounts::Enter, progress)?.place(|copy| {
        to.check_again()?;
        step.take(copy, to, 0)
    })
}

/// Refuses a replacement in which one of the two is a folder. A folder with its content is only
/// ever removed by way of the trash.
fn refuse_folder(from: &EntryRef, to: &EntryRef) -> Result<(), FilesError> {
    let Some(there) = to.look_if_any()? else { return Ok(()) };
    if Kind::of(&there) == Kind::Folder || is_folder(from)? { Err(FilesError::FolderNotReplaced) } else { Ok(()) }
}

/// Whether two entries are one, perhaps in two spellings on a file system that ignores case.
fn is_same_entry(from_stat: &FileStat, to_stat: &FileStat, from: &EntryRef, to: &EntryRef) -> bool {
    let is_only_link = Kind::of(from_stat) == Kind::Folder || from_stat.st_nlink == 1;
    Identity::of(from_stat) == Identity::of(to_stat) && (is_only_link || from.is_at(to))
}

/// Refuses to put a folder into itself. Refuses to replace a folder, or merge with one, that holds
/// the source.
fn refuse_entangled(stat: &FileStat, from: &EntryRef, to: &EntryRef, policy: ConflictPolicy) -> Result<(), FilesError> {
    let holds = |outer: &FileStat, slot: &EntryRef| match Kind::of(outer) {
        Kind::Folder => slot.lies_in(Identity::of(outer)).map_err(FilesError::resolving),
        Kind::File | Kind::Link | Kind::Special => Ok(false),
    };
    if holds(stat, to)? {
        return Err(FilesError::IntoItself);
    }
    if matches!(policy, ConflictPolicy::Replace | ConflictPolicy::MergeRename)
        && let Some(target) = to.look_if_any()?
        && holds(&target, from)?
    {
        return Err(FilesError::IntoItself);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Step<'h> {
    policy: ConflictPolicy,
    crossing: CrossDevice,
    progress: &'h Progress,
}

impl Step<'_> {
    fn take(self, from: &EntryRef, to: &EntryRef, depth: usize) -> Result<(), FilesError> {
        match rename_new(from, to) {
            Err(Errno::EEXIST) => self.settle(from, to, depth),
            Err(Errno::EINVAL) => Err(FilesError::IntoItself),
            outcome => self.unless_other_device(outcome.map_err(FilesError::from), from, to),
        }
    }

    /// Applies the policy to a taken name.
    fn settle(self, from: &EntryRef, to: &EntryRef, depth: usize) -> Result<(), FilesError> {
        match self.policy {
            ConflictPolicy::Reject => Err(FilesError::Exists),
            ConflictPolicy::Rename => self.rename_numbered(from, to),
            ConflictPolicy::Replace => {
                refuse_folder(from, to)?;
                self.unless_other_device(rename_over(from, to), from, to)
            }
            ConflictPolicy::MergeRename => {
                if is_folder(from)? && is_folder(to)? {
                    self.merge(from, to, depth)
                } else {
                    self.rename_numbered(from, to)
                }
            }
        }
    }

    fn rename_numbered(self, from: &EntryRef, to: &EntryRef) -> Result<(), FilesError> {
        for number in 1..=RENAMES_MAX {
            match rename_new(from, &to.numbered(number)?) {
                Err(Errno::EEXIST) => {}
                outcome => {
                    return self.unless_other_device(outcome.map_err(FilesError::from), from, to);
                }
            }
        }
        Err(FilesError::Exists)
    }

    /// Moves everything in a folder to another, and removes the empty folder.
    fn merge(self, from: &EntryRef, to: &EntryRef, depth: usize) -> Result<(), FilesError> {
        if depth >= DEPTH_MAX {
            return Err(FilesError::TooDeep);
        }
        let source = from.open_folder(Mounts::Enter, FilesError::walking)?;
        let target = to.open_folder(Mounts::Enter, FilesError::walking)?;
        source.check_removable()?;
        target.check_removable()?;
        loop {
            let names = source.names()?.take(NAMES_MAX).collect::<Result<Vec<_>, _>>()?;
            if names.is_empty() {
                break;
            }
            for name in names {
                let (from, to) = (from.within(&source, name.clone())?, to.within(&target, name)?);
                self.take(&from, &to, depth + 1)?;
            }
        }
        match unlinkat(from.folder(), from.name(), UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Err(FilesError::InUse),
            outcome => Ok(outcome?),
        }
    }

    fn unless_other_device(
        self,
        outcome: Result<(), FilesError>,
        from: &EntryRef,
        to: &EntryRef,
    ) -> Result<(), FilesError> {
        if outcome == Err(FilesError::OtherDevice) && self.crossing == CrossDevice::Copy {
            self.carry_over(from, to)
        } else {
            outcome
        }
    }

    /// Moves something to another file system.
    fn carry_over(self, from: &EntryRef, to: &EntryRef) -> Result<(), FilesError> {
        if self.policy == ConflictPolicy::Reject && to.look_if_any()?.is_some() {
            return Err(FilesError::Exists);
        }
        let seen = Identity::of(&from.look()?);
        let staged = StagedCopy::copy(from, to, Mounts::Stay, self.progress)?;
        // The source loses its name first: if the user may not remove it, that fails before
        // anything has changed.
        let (aside, ()) = scratch(from, |aside| rename_new(from, aside))?;
        let placed = match aside.stat() {
            Ok(stat) if Identity::of(&stat) == seen => {
                let step = Self { crossing: CrossDevice::Refuse, ..self };
                staged.place(|copy| {
                    to.check_again()?;
                    step.take(copy, to, 0)
                })
            }
            Ok(_) => Err(FilesError::InUse),
            Err(errno) => Err(errno.into()),
        };
        let remains = |why: FilesError| FilesError::Remains { why: Box::new(why), rest: aside.text() };
        if placed.is_err() {
            rename_new(&aside, from).map_err(|errno| remains(errno.into()))?;
            return placed;
        }
        to.sync_file_system().map_err(|errno| remains(errno.into()))?;
        remove(&aside, seen).map_err(remains)?;
        placed
    }
}

fn is_folder(slot: &EntryRef) -> Result<bool, FilesError> {
    Ok(Kind::of(&slot.look()?) == Kind::Folder)
}
