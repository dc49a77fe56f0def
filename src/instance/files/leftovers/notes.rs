//! Where the notes of unfinished copies are, and which files have one.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Prefix and suffix of the name of an unfinished copy.
pub(super) const MARKS: (&str, &str) = (".countersign-copy-", ".part");
/// Bytes of the random part of such a name, which is written in hexadecimal.
pub(super) const RANDOM: usize = 16;

/// The directory of the notes, if there is one.
#[derive(Debug)]
pub(crate) struct Unfinished(Option<PathBuf>);

impl Unfinished {
    /// Notes in this directory, which only the user can open. It is made when there is something to
    /// note.
    pub(crate) const fn noted_in(directory: PathBuf) -> Self {
        Self(Some(directory))
    }

    /// No notes: leftovers stay.
    pub(crate) const fn unnoted() -> Self {
        Self(None)
    }

    /// Whether a file of this name is an unfinished copy or upload.
    pub(crate) fn is_noted(&self, name: &[u8]) -> bool {
        let Some(directory) = self.0.as_ref().filter(|_| is_scratch_name(name)) else { return false };
        directory.join(std::ffi::OsStr::from_bytes(name)).symlink_metadata().is_ok()
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

/// Whether a name has the form of an unfinished copy's.
pub(super) fn is_scratch_name(name: &[u8]) -> bool {
    let random = name.strip_prefix(MARKS.0.as_bytes()).and_then(|rest| rest.strip_suffix(MARKS.1.as_bytes()));
    random.is_some_and(|random| random.len() == 2 * RANDOM && random.iter().all(u8::is_ascii_hexdigit))
}
