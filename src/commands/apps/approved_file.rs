//! Writes an approved application: whole, on the disk, and for root alone to change.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::commands::error::CommandError;
use countersign_config::admin_file::check_directory;
use countersign_keys::identity::Uid;

/// For all to read: instances run as their users.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Replaces the file. A reader sees the old or the new one, and a crash leaves one of the two.
pub(super) fn write(folder: &Path, file: &Path, text: &[u8]) -> Result<(), CommandError> {
    let failed = |source: io::Error| CommandError::Write { path: file.to_owned(), source };
    let own = file.parent().unwrap_or(folder);
    for folder in [folder, own] {
        make(folder).map_err(failed)?;
        check_directory(folder, Uid(nix::unistd::geteuid().as_raw()))
            .map_err(|reason| failed(io::Error::other(reason)))?;
    }
    let unfinished = own.join(".unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let written = || -> io::Result<()> {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
        // Whatever the umask is.
        new.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))?;
        new.write_all(text)?;
        new.sync_all()?;
        std::fs::rename(&unfinished, file)?;
        File::open(own)?.sync_all()?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|error| {
        // The first failure matters.
        let _ = std::fs::remove_file(&unfinished);
        failed(error)
    })
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, std::fs::Permissions::from_mode(FOLDER_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_file_is_whole_and_for_its_owner_to_change() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("applications");
        let file = folder.join("name").join("1.json");
        for text in ["one", "another"] {
            write(&folder, &file, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file), mode(&folder), mode(file.parent().unwrap())), (0o644, 0o755, 0o755));
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "something is left over");
    }

    #[test]
    fn a_folder_that_others_can_write_gets_no_file() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("name").join("1.json");
        write(place.path(), &file, b"x").unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(write(place.path(), &file, b"y").is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }
}
