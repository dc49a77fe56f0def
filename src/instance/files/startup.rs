//! Decides which places can start programs, by where a path really leads: through links, and from
//! the drive's folder.
//!
//! The gateway and the signer know only a path's text. The instance knows more, and applies the
//! same definition (`countersign_keys::call::needs_asking`). It refuses a change of such a place
//! unless the intent says that the user was asked (V66). Files of a folder upload are checked here
//! too, since no intent names them.
//! are judged here too, since no intent names them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_keys::call::needs_asking;
use countersign_keys::intent::Consent;

use super::error::FilesError;
use super::path::UcloudPath;
use super::resolve::EntryRef;

/// The home directory, from which an account's places are measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home(Option<PathBuf>);

impl Home {
    /// Takes a home directory by its canonical path.
    pub(crate) fn at(directory: &Path) -> Self {
        Self(Some(directory.canonicalize().unwrap_or_else(|_| directory.to_owned())))
    }

    /// Whether a change here needs the user's consent: programs start from this place, or it is the
    /// home directory itself, or it holds that. `drive` is the folder of the drive.
    fn needs_asking(&self, drive: &Path, place: &Path) -> bool {
        if let Some(home) = &self.0 {
            if home.starts_with(place) {
                return true;
            }
            if let Ok(inside) = place.strip_prefix(home) {
                return is_asked_for(inside);
            }
        }
        // Outside the home, what lies above the drive is the site's choice and starts nothing of
        // the user's.
        place.strip_prefix(drive).map_or(true, is_asked_for)
    }

    /// Whether every change on a drive needs the user's consent, because its folder does.
    pub(crate) fn covers(&self, drive: &Path) -> bool {
        let drive = drive.canonicalize().unwrap_or_else(|_| drive.to_owned());
        let Some(home) = &self.0 else { return false };
        drive.strip_prefix(home).is_ok_and(is_asked_for)
    }
}

fn is_asked_for(path: &Path) -> bool {
    needs_asking(&path.to_string_lossy())
}

/// What a change must satisfy before its place is opened.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    consent: Consent,
    home: Home,
    /// The drive's folder, as the table of drives has it.
    drive: Arc<Path>,
}

impl Change {
    pub(crate) fn on(drive: &Path, home: &Home, consent: Consent) -> Self {
        Self { consent, home: home.clone(), drive: drive.into() }
    }

    /// Refuses a path whose text needs the user's consent, before anything is made for it.
    pub(super) fn check_path(&self, path: &UcloudPath) -> Result<(), FilesError> {
        match self.consent {
            Consent::Asked => Ok(()),
            Consent::Unasked if needs_asking(&path.to_string()) => Err(FilesError::NotAsked),
            Consent::Unasked => Ok(()),
        }
    }

    /// Refuses an open place that needs the user's consent, by where it is now.
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
