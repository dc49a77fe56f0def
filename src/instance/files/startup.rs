//! Places from which programs start, as the file system has them: what a path leads to through
//! links, and where a drive lies.
//!
//! The gateway and the signer know a path's text. The instance knows more, and judges that by the
//! table's own definition (`countersign_keys::call::needs_asking`). A change that leads to such a
//! place is refused unless the intent says that a person was asked (V66). A folder upload's files
//! are judged here too, since no intent names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::call::needs_asking;
use countersign_keys::intent::Consent;

use super::error::FilesError;
use super::path::UcloudPath;
use super::resolve::EntryRef;

/// What an account's places are measured from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home(Option<PathBuf>);

impl Home {
    /// That directory, by the name that the kernel has for it.
    pub(crate) fn at(directory: &Path) -> Self {
        Self(Some(directory.canonicalize().unwrap_or_else(|_| directory.to_owned())))
    }

    /// Whether something written at this place needs a person's word: programs start from there, or
    /// it is the home directory itself, or holds it. `drive` is the folder of the drive that the
    /// place is reached through.
    fn needs_asking(&self, drive: &Path, place: &Path) -> bool {
        if let Some(home) = &self.0 {
            if home.starts_with(place) {
                return true;
            }
            if let Ok(inside) = place.strip_prefix(home) {
                return is_asked_for(inside);
            }
        }
        // Elsewhere, what is above the drive is the site's choice and starts nothing of the user's.
        place.strip_prefix(drive).map_or(true, is_asked_for)
    }

    /// Whether everything on a drive needs a person's word, since its folder does.
    pub(crate) fn covers(&self, drive: &Path) -> bool {
        let drive = drive.canonicalize().unwrap_or_else(|_| drive.to_owned());
        let Some(home) = &self.0 else { return false };
        drive.strip_prefix(home).is_ok_and(is_asked_for)
    }
}

fn is_asked_for(path: &Path) -> bool {
    needs_asking(&path.to_string_lossy())
}

/// What a change has to show for itself before its place is opened.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    consent: Consent,
    home: Home,
    /// The drive's folder, as the table of drives has it.
    drive: Arc<Path>,
}

impl Change {
    /// A change on a drive.
    pub(crate) fn on(drive: &Path, home: &Home, consent: Consent) -> Self {
        Self { consent, home: home.clone(), drive: drive.into() }
    }

    /// Refuses a path that needs a person's word by its text, before anything is made for it.
    pub(super) fn check_path(&self, path: &UcloudPath) -> Result<(), FilesError> {
        match self.consent {
            Consent::Asked => Ok(()),
            Consent::Unasked if needs_asking(&path.to_string()) => Err(FilesError::NotAsked),
            Consent::Unasked => Ok(()),
        }
    }

    /// Refuses a place that needs it by where it is: what is open stays where it was looked for.
    pub(super) fn check_slot(&self, slot: &EntryRef) -> Result<(), FilesError> {
        if self.consent == Consent::Asked {
            return Ok(());
        }
        let mut place = slot.folder_path().map_err(|_| FilesError::NotAsked)?;
        place.push(slot.text());
        let drive = self.drive.canonicalize().map_err(|_| FilesError::NotAsked)?;
        if self.home.needs_asking(&drive, &place) { Err(FilesError::NotAsked) } else { Ok(()) }
    }
}
