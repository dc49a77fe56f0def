//! Hides unfinished copies and uploads, and removes those of a killed instance.
//!
//! Each has a note, in a folder of the user that no drive shows, until its scratch name is gone.
//! Files with a note are not listed. If no process holds the lock of a note, its file is removed,
//! provided that it is the very file or folder that was made. Everything else, whatever its name,
//! belongs to the user and stays.

mod notes;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::OFlag;

pub(crate) use self::notes::Unfinished;
use self::notes::{MARKS, RANDOM, is_scratch_name};
use super::error::FilesError;
use super::identity::Identity;
use super::path::Name;
use super::protected::Protection;
use super::remove::{remove, remove_if_empty};
use super::resolve::EntryRef;
use countersign_os::clock::random_bytes;

/// How often a note is made again after an instance that cleans up removed it as a leftover.
const TRIES_MAX: usize = 16;

/// The locked note of one copy. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Note(Option<(PathBuf, File)>);

/// Steps of making a note, for tests that stop there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The note exists, empty and not locked.
    Made,
    Locked,
    /// The note names the folder of the copy.
    Written,
}

impl Unfinished {
    /// Returns a scratch name beside an entry, and its note. If the note cannot be written, the
    /// copy is made all the same.
    pub(crate) fn begin(&self, beside: &EntryRef) -> Result<(EntryRef, Note), FilesError> {
        self.begin_in_steps(beside, &|_| ())
    }

    pub(super) fn begin_in_steps(
        &self,
        beside: &EntryRef,
        reached: &dyn Fn(Step),
    ) -> Result<(EntryRef, Note), FilesError> {
        let random = random_bytes::<RANDOM>().map_err(|_| FilesError::Failed(Errno::EIO))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}{random}{}", MARKS.0, MARKS.1);
        let slot = beside.beside(Name::from_bytes(name.clone().into_bytes())?)?;
        let Some(directory) = self.directory() else { return Ok((slot, Note(None))) };
        let path = directory.join(name);
        match write(directory, &path, &slot, reached) {
            Ok(note) => Ok((slot, Note(Some((path, note))))),
            Err(error) => {
                tracing::warn!(%error, "cannot note an unfinished copy: after a crash it stays");
                Ok((slot, Note(None)))
            }
        }
    }

    /// Removes the leftovers of killed instances; may take long.
    pub(crate) fn clean(&self, protection: &Arc<Protection>) {
        let Some(directory) = self.directory() else { return };
        let notes = match std::fs::read_dir(directory) {
            Ok(notes) => notes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return tracing::warn!(%error, "cannot read notes of unfinished copies"),
        };
        for note in notes.flatten() {
            if !is_scratch_name(note.file_name().as_bytes()) {
                continue; // not a note: whatever it is, it stays
            }
            let path = note.path();
            // NFS allows an exclusive lock only on a file that is open for writing.
            let opened = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(&path);
            let Ok(locked) = opened else { continue }; // it has just been removed
            if locked.try_lock().is_err() {
                continue; // it is being made, perhaps by an instance that was told to stop and has not yet
            }
            if !matches!(is_at(&path, &locked), Ok(true)) {
                continue; // another cleaned it up, and its maker has made it again
            }
            match remove_noted(&locked, note.file_name().as_bytes(), protection) {
                Ok(true) => tracing::info!(copy = %path.display(), "removed unfinished copy"),
                // Its folder was moved or removed.
                Ok(false) => {}
                Err(trouble) => tracing::warn!(copy = %path.display(), %trouble, "cannot remove unfinished copy"),
            }
            drop(Note(Some((path, locked))));
        }
    }
}

impl EntryRef {
    /// Returns a scratch name beside this entry, with the note that belongs to it.
    pub(crate) fn unfinished(&self) -> Result<(Self, Note), FilesError> {
        self.notes().begin(self)
    }
}

impl Note {
    /// Notes which file or folder was made under the scratch name. Without that, only an empty one
    /// is removed.
    pub(crate) fn made(&mut self, made: Identity) {
        if let Some((_, note)) = &mut self.0
            && let Err(error) = note.write_all(format!("\0{made}").as_bytes())
        {
            tracing::warn!(%error, "cannot note which copy was made: after a crash it stays");
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some((path, _lock)) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove note of unfinished copy");
        }
    }
}

/// Makes a note that names the folder of the copy. An instance that cleans up locks a note before
/// it removes it. So a note that still exists after it was locked here is not removed.
fn write(directory: &Path, path: &Path, slot: &EntryRef, reached: &dyn Fn(Step)) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for _ in 0..TRIES_MAX {
        let mut note = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        reached(Step::Made);
        note.lock()?;
        reached(Step::Locked);
        if !is_at(path, &note)? {
            continue;
        }
        note.write_all(slot.folder_path()?.as_os_str().as_bytes())?;
        reached(Step::Written);
        return Ok(note);
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Whether a path still names the open file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what a note is about; tells whether it existed.
fn remove_noted(mut note: &File, name: &[u8], protection: &Arc<Protection>) -> Result<bool, FilesError> {
    let mut text = Vec::new();
    note.read_to_end(&mut text)?;
    // A path has no NUL.
    let (folder, made) = match text.iter().position(|byte| *byte == 0) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text.as_slice(), None),
    };
    let folder = PathBuf::from(std::ffi::OsString::from_vec(folder.to_vec()));
    let slot = match EntryRef::at(&folder, Name::from_bytes(name.to_vec())?, Arc::clone(protection)) {
        Ok(slot) => slot,
        Err(FilesError::NotFound | FilesError::NotAFolder | FilesError::Denied | FilesError::Failed(Errno::ELOOP)) => {
            return Ok(false);
        }
        Err(trouble) => return Err(trouble),
    };
    if slot.look_if_any()?.is_none() {
        return Ok(false);
    }
    match made.and_then(|made| std::str::from_utf8(made).ok()).and_then(|made| made.parse().ok()) {
        Some(made) => remove(&slot, made).map(|()| true),
        None => remove_if_empty(&slot).map(|()| true),
    }
}
