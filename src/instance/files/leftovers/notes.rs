//! Where the notes of unfinished copies are, and what has one.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What the name of an unfinished copy begins and ends with.
pub(super) const MARKS: (&str, &str) = (".countersign-copy-", ".part");
/// How many bytes the random part of such a name has; it is written in hexadecimal.
pub(super) const RANDOM: usize = 16;

/// Where notes are kept, if anywhere.
#[derive(Debug)]
pub(crate) struct Unfinished(Option<PathBuf>);

impl Unfinished {
    /// Notes in this directory, which is the user's alone and is made when there is something to
    /// note.
    pub(crate) const fn noted_in(directory: PathBuf) -> Self {
        Self(Some(directory))
    }

    /// No notes: what is left behind stays.
    pub(crate) const fn unnoted() -> Self {
        Self(None)
    }

    /// Whether something of that name is a copy or upload that is not complete.
    pub(crate) fn is_noted(&self, name: &[u8]) -> bool {
        let Some(directory) = self.0.as_ref().filter(|_| is_scratch_name(name)) else { return false };
        directory.join(std::ffi::OsStr::from_bytes(name)).symlink_metadata().is_ok()
    }

    /// Where the notes are.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

/// Whether a name is one of those that unfinished copies have.
pub(super) fn is_scratch_name(name: &[u8]) -> bool {
    let random = name.strip_prefix(MARKS.0.as_bytes()).and_then(|rest| rest.strip_suffix(MARKS.1.as_bytes()));
    random.is_some_and(|random| random.len() == 2 * RANDOM && random.iter().all(u8::is_ascii_hexdigit))
}
