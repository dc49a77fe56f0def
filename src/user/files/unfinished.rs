//! What a killed instance leaves behind: copies that were not complete. The next instance removes them.
//!
//! A note of each is kept while it is made, and is gone before its scratch name could stand for anything but that copy. So what is noted
//! and still there is a copy that nobody has seen complete; anything else, whatever it is called, is the user's and stays. Whoever makes the
//! copy holds a lock on its note, which ends with the process and not before.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;

use super::beneath::Slot;
use super::error::Trouble;
use super::path::Name;
use super::protected::Protection;
use super::remove::remove;
use crate::clock::random_bytes;

/// What the name of an unfinished copy begins and ends with.
const MARKS: (&str, &str) = (".countersign-copy-", ".part");

/// Where notes are kept, if anywhere.
#[derive(Debug)]
pub(crate) struct Unfinished(Option<PathBuf>);

/// The note of one copy, locked; gone with it.
#[derive(Debug)]
pub(crate) struct Note(Option<(PathBuf, File)>);

impl Unfinished {
    /// Notes in this directory, which is the user's alone and is made when there is something to note.
    pub(crate) const fn noted_in(directory: PathBuf) -> Self {
        Self(Some(directory))
    }

    /// No notes: what is left behind stays.
    pub(crate) const fn unnoted() -> Self {
        Self(None)
    }

    /// A name for a copy in the folder of a slot, and the note of it. A note that cannot be written is no reason not to copy.
    pub(crate) fn begin(&self, beside: &Slot) -> Result<(Slot, Note), Trouble> {
        let random = random_bytes::<16>().map_err(|_| Trouble::Failed(Errno::EIO))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}{random}{}", MARKS.0, MARKS.1);
        let slot = beside.beside(Name::from_bytes(name.clone().into_bytes())?)?;
        let Some(directory) = &self.0 else { return Ok((slot, Note(None))) };
        let path = directory.join(name);
        match write(directory, &path, &slot) {
            Ok(note) => Ok((slot, Note(Some((path, note))))),
            Err(error) => {
                tracing::warn!(%error, "a copy goes on without a note: if it is cut short, what it leaves stays");
                Ok((slot, Note(None)))
            }
        }
    }

    /// Removes what was left behind; it may take long.
    pub(crate) fn clean(&self, protection: &Arc<Protection>) {
        let Some(directory) = &self.0 else { return };
        let notes = match std::fs::read_dir(directory) {
            Ok(notes) => notes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return tracing::warn!(%error, "the notes of unfinished copies cannot be read"),
        };
        for note in notes.flatten() {
            let path = note.path();
            let Ok(locked) = File::open(&path) else { continue }; // it has just been removed
            if locked.try_lock().is_err() {
                continue; // it is being made, perhaps by an instance that was told to stop and has not yet
            }
            match remove_noted(&locked, note.file_name().as_bytes(), protection) {
                Ok(true) => tracing::info!(copy = %path.display(), "what was left of an unfinished copy is removed"),
                // Its folder was moved or removed, or the name is none of ours.
                Ok(false) => {}
                Err(trouble) => {
                    tracing::warn!(copy = %path.display(), %trouble, "an unfinished copy cannot be removed")
                }
            }
            drop(Note(Some((path, locked))));
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some((path, _lock)) = self.0.take()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "the note of a copy cannot be removed");
        }
    }
}

fn write(directory: &Path, path: &Path, slot: &Slot) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut note = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    note.try_lock()?;
    note.write_all(slot.folder_path()?.as_os_str().as_bytes())?;
    Ok(note)
}

/// Whether there was anything to remove.
fn remove_noted(mut note: &File, name: &[u8], protection: &Arc<Protection>) -> Result<bool, Trouble> {
    if !name.starts_with(MARKS.0.as_bytes()) || !name.ends_with(MARKS.1.as_bytes()) {
        return Ok(false);
    }
    let mut folder = Vec::new();
    note.read_to_end(&mut folder)?;
    let folder = PathBuf::from(std::ffi::OsString::from_vec(folder));
    let slot = match Slot::at(&folder, Name::from_bytes(name.to_vec())?, Arc::clone(protection)) {
        Ok(slot) => slot,
        Err(Trouble::NotFound | Trouble::NotAFolder | Trouble::Denied | Trouble::Failed(Errno::ELOOP)) => {
            return Ok(false);
        }
        Err(trouble) => return Err(trouble),
    };
    match slot.look_if_any()? {
        Some(_) => remove(&slot).map(|()| true),
        None => Ok(false),
    }
}
