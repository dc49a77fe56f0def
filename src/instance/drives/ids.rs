//! Pins the meaning of UCloud's drive numbers in the user's account on first use. Only the user can
//! change a meaning.
//!
//! A path begins with such a number, and only the number is signed. The server says which
//! configured drive it stands for. The instance does not believe a different answer later (P3). The
//! configuration says which folder a drive is.
//!
//! When the user deletes a drive by a signed request, its numbers become free, because UCloud
//! reuses them. A free number means nothing until no intent from before the deletion can be valid.
//! Then it takes the next meaning that the server gives.
//!
//! Each provider has its own file in its own directory: UCloud may number the drives of providers
//! that share a home differently. The one file of earlier releases is only read; a number in it
//! keeps its meaning.

mod pins;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::bind::{Items, Projection};
use countersign_keys::identity::{ProviderId, Uid};
use countersign_keys::store::drives::CoreDriveId;
use countersign_keys::time::Timestamp;
use http::{Method, StatusCode};

use self::pins::{FILE_MAX, PINS_MAX, Pinnable, Pins};
use crate::account::OwnAccount;
use countersign_config::user_file::{Opened, UserFileFailure};
use countersign_config::{Config, DRIVE_NUMBERS, UserDrives};
use countersign_home::own_directory::{OwnDirectory, STATE, WriteFailure};
use countersign_ipc::client::request;
use countersign_ipc::server_protocol::{DRIVES_REPORT, DriveTable, DrivesReport, NumberedDrive};
use countersign_os::clock::{Clock, UnreadableClock};

/// Shortest interval between two questions to the server about unknown numbers.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Why drive numbers cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinFailure {
    #[error(transparent)]
    Write(#[from] WriteFailure),
    #[error(transparent)]
    Strict(#[from] UserFileFailure),
    #[error("line {line} of {path} is not a number and a drive id: correct the line or remove the file")]
    Line {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The file could not be read at the start, so nothing is pinned.
    #[error("the file of drive numbers could not be read, so no number can be pinned")]
    Unkept,
    /// Without the clock no deletion can be dated.
    #[error(transparent)]
    Clock(#[from] UnreadableClock),
    /// The number means another drive, or the drive is not one of this account's.
    #[error("UCloud's number of the new drive means another drive already")]
    InUse,
    /// An intent signed for the previous drive of this number may still be valid.
    #[error("UCloud gave the new drive the number of one that you deleted recently: try again in a minute")]
    NotYet,
    #[error("{PINS_MAX} drive numbers are pinned, which is the limit")]
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct DriveNumbers {
    /// Where pins are kept and which server is asked; `None`: there are no pins.
    keeping: Option<Keeping>,
    pins: Mutex<Pins>,
    /// When the server was last asked.
    asked_at: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Keeping {
    home: PathBuf,
    owner: Uid,
    provider: ProviderId,
    /// Pins that an earlier release kept for all providers.
    earlier: Pins,
    drives: UserDrives,
    socket: PathBuf,
    clock: Clock,
    /// How long an intent from before a deletion may stay valid, in seconds.
    kept_s: i64,
}

impl DriveNumbers {
    /// The numbers of an account with these drives. If the pins cannot be read, none is used and
    /// none is made: drives then go by their configured ids alone.
    pub(crate) fn of(account: &OwnAccount, config: &Config, drives: UserDrives) -> Self {
        let (home, owner, provider) = (account.home().to_owned(), account.uid(), config.provider.id.clone());
        let (socket, kept_s) = (config.ipc.socket(), config.terms().window.retention_max_s());
        let (earlier, clock) = (Pins::default(), Clock::System);
        let mut keeping = Keeping { home, owner, provider, earlier, drives, socket, clock, kept_s };
        match keeping.read() {
            Ok(pins) => Self { keeping: Some(keeping), pins: Mutex::new(pins), asked_at: Mutex::default() },
            Err(failure) => {
                tracing::error!(%failure, "cannot read the drive numbers: UCloud's numbers mean nothing here");
                Self::default()
            }
        }
    }

    /// The id of the drive that a number means.
    pub(crate) fn meaning(&self, number: &str) -> Option<String> {
        let number = CoreDriveId::parse(number).ok()?;
        self.pins().meaning(&number).map(str::to_owned)
    }

    /// The id of the deleted drive that a number meant, if the number has meant nothing since.
    pub(crate) fn freed(&self, number: &str) -> Option<String> {
        let number = CoreDriveId::parse(number).ok()?;
        self.pins().freed(&number).map(str::to_owned)
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the drives to the server, and learns their numbers.
    pub(crate) async fn report(&self) {
        let Some(keeping) = &self.keeping else { return };
        let drives = keeping.drives.clone();
        let ids = tokio::task::spawn_blocking(move || drives.there()).await.unwrap_or_default();
        self.ask(keeping, DrivesReport { ids }).await;
    }

    /// A number that means this drive, if there is one; the same in every call.
    pub(crate) fn number_of(&self, id: &str) -> Option<String> {
        self.pins().numbers(id).next().map(|number| number.as_str().to_owned())
    }

    /// Whether a number means this drive, meant it before the drive was deleted, or meant it in an
    /// earlier release.
    pub(crate) fn is_numbered(&self, id: &str) -> bool {
        self.pins().knows(id) || self.keeping.as_ref().is_some_and(|keeping| keeping.earlier.knows(id))
    }

    pub(crate) fn numbers_of(&self, id: &str) -> Vec<String> {
        self.pins().numbers(id).map(|number| number.as_str().to_owned()).collect()
    }

    /// Asks the server about numbers in a request's paths that mean nothing yet.
    pub(crate) async fn learn_for(&self, items: &Items<'_>) {
        let parameters = items.projections().iter().flat_map(Projection::parameters);
        self.learn_of(parameters.filter_map(|(_, value)| value.as_str())).await;
    }

    /// As [`Self::learn_for`], for these paths.
    pub(crate) async fn learn_of<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let Some(keeping) = &self.keeping else { return };
        let numbers: BTreeSet<CoreDriveId> = paths.filter_map(number_of).collect();
        let is_known = |number: &CoreDriveId| self.meaning(number.as_str()).is_some() || keeping.has(number.as_str());
        if numbers.iter().all(is_known) || !self.may_ask(Instant::now()) {
            return;
        }
        self.ask(keeping, DrivesReport::default()).await;
    }

    fn may_ask(&self, now: Instant) -> bool {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if asked_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_EVERY) {
            return false;
        }
        *asked_at = Some(now);
        true
    }

    async fn ask(&self, keeping: &Keeping, report: DrivesReport) {
        let answer = match request(&keeping.socket, Method::POST, DRIVES_REPORT, &report).await {
            Ok((StatusCode::OK, body)) => serde_json::from_slice::<DriveTable>(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        match answer {
            None => tracing::warn!("cannot get UCloud's drive numbers from the server"),
            Some(table) => {
                if let Err(failure) = self.learn(keeping, table.drives) {
                    tracing::error!(%failure, "cannot store UCloud's drive numbers, so they mean nothing");
                }
            }
        }
    }

    /// Takes the server's meanings for numbers that mean nothing yet. They are written to disk
    /// before they take effect.
    fn learn(&self, keeping: &Keeping, reported: Vec<NumberedDrive>) -> Result<(), PinFailure> {
        let now = keeping.clock.now()?;
        let news = |pins: &Pins| -> Vec<NumberedDrive> {
            let is_new = |drive: &&NumberedDrive| keeping.check(pins, drive, now).is_ok();
            reported.iter().filter(is_new).cloned().collect()
        };
        let is_news = {
            let pins = self.pins();
            for drive in &reported {
                keeping.report(&pins, drive, now);
            }
            !news(&pins).is_empty()
        };
        if !is_news {
            return Ok(());
        }
        self.change(keeping, |pins| {
            let (news, room) = (news(pins), pins.room());
            if news.len() > room {
                tracing::error!(
                    left_out = news.len().saturating_sub(room),
                    "{PINS_MAX} numbers mean drives, as many as there can be: drives of further numbers cannot be opened"
                );
            }
            for drive in news.into_iter().take(room) {
                pins.pin(drive.number, drive.id);
            }
            Ok(())
        })
    }

    /// Pins the number of a drive that the user makes.
    pub(crate) fn pin(&self, drive: NumberedDrive) -> Result<(), PinFailure> {
        let keeping = self.keeping.as_ref().ok_or(PinFailure::Unkept)?;
        let now = keeping.clock.now()?;
        self.change(keeping, |pins| {
            keeping.report(pins, &drive, now);
            match keeping.check(pins, &drive, now) {
                Ok(()) if pins.room() == 0 => return Err(PinFailure::Full),
                Ok(()) => {}
                Err(NotNew::NotYet) => return Err(PinFailure::NotYet),
                Err(NotNew::NoDrive | NotNew::IdOfAnother | NotNew::Known | NotNew::Means(_)) => {
                    return Err(PinFailure::InUse);
                }
            }
            pins.pin(drive.number, drive.id);
            Ok(())
        })
    }

    /// Frees the numbers of drives that the user has deleted. Only signed requests lead here: one
    /// that names the drive's number, or the one that made the drive. The drive is gone by then.
    pub(crate) fn free(&self, ids: &[String]) -> Result<(), PinFailure> {
        let Some(keeping) = self.keeping.as_ref().filter(|_| ids.iter().any(|id| self.number_of(id).is_some())) else {
            return Ok(());
        };
        let now = keeping.clock.now()?;
        self.change(keeping, |pins| {
            ids.iter().for_each(|id| pins.free(id, now, keeping.kept_s));
            Ok(())
        })
    }

    /// Changes the pins under the directory's lock, because another instance of this account may
    /// have pinned meanwhile.
    fn change(
        &self,
        keeping: &Keeping,
        change: impl FnOnce(&mut Pins) -> Result<(), PinFailure>,
    ) -> Result<(), PinFailure> {
        let directory = OwnDirectory::make(&keeping.home, keeping.owner, &keeping.directory())?;
        let mut pins = keeping.read_in(&directory)?;
        change(&mut pins)?;
        directory.replace(DRIVE_NUMBERS, pins.to_string().as_bytes())?;
        *self.pins() = pins;
        Ok(())
    }
}

/// Why a meaning from the server is not pinned.
#[derive(Debug)]
enum NotNew<'p> {
    NoDrive,
    /// The number is an id in the configuration.
    IdOfAnother,
    /// The number already means that.
    Known,
    /// The number means this other drive.
    Means(&'p str),
    /// See [`Pinnable::NotYet`].
    NotYet,
}

impl Keeping {
    fn has(&self, id: &str) -> bool {
        self.drives.has(id)
    }

    /// Checks that the number means nothing yet, and that the drive is one of this account's.
    fn check<'p>(&'p self, pins: &'p Pins, reported: &NumberedDrive, now: Timestamp) -> Result<(), NotNew<'p>> {
        let NumberedDrive { number, id } = reported;
        if !self.has(id) {
            return Err(NotNew::NoDrive);
        }
        if self.has(number.as_str()) {
            return Err(NotNew::IdOfAnother);
        }
        match pins.pinnable(number, now, self.kept_s) {
            Pinnable::Means(known) if known == id => Err(NotNew::Known),
            Pinnable::Means(known) => Err(NotNew::Means(known)),
            Pinnable::NotYet => Err(NotNew::NotYet),
            Pinnable::Yes if pins.freed(number).is_some() => Ok(()),
            Pinnable::Yes => match self.earlier.meaning(number).filter(|earlier| *earlier != id) {
                Some(known) => Err(NotNew::Means(known)),
                None => Ok(()),
            },
        }
    }

    /// Logs a meaning that contradicts the configuration or a pin.
    fn report(&self, pins: &Pins, reported: &NumberedDrive, now: Timestamp) {
        let number = reported.number.as_str();
        match self.check(pins, reported, now) {
            Ok(()) | Err(NotNew::NoDrive | NotNew::Known | NotNew::NotYet) => {}
            Err(NotNew::IdOfAnother) => {
                tracing::warn!(number, "ignored a drive number: it is the id of another drive");
            }
            Err(NotNew::Means(known)) if self.drives.folder(known).is_some_and(|folder| folder.is_dir()) => {
                tracing::error!(
                    number,
                    known,
                    said = reported.id,
                    "ALARM: the server says that a drive number means another drive now; kept the pinned meaning"
                );
            }
            Err(NotNew::Means(known)) => {
                tracing::error!(
                    number,
                    known,
                    said = reported.id,
                    file = %self.home.join(self.directory().iter().collect::<PathBuf>()).join(DRIVE_NUMBERS).display(),
                    "cannot open a drive: UCloud gives it the number of one whose folder is gone, and whose user has not deleted it; \
                     see \"A number that means another drive\" in the manual"
                );
            }
        }
    }

    /// The directories beneath the home, down to the provider's.
    fn directory(&self) -> [&str; 4] {
        let [first, second, third] = STATE;
        [first, second, third, self.provider.as_str()]
    }

    /// Reads both files: returns the provider's pins, and keeps those of earlier releases in
    /// `earlier`.
    fn read(&mut self) -> Result<Pins, PinFailure> {
        self.earlier = self.read_at(STATE.iter().chain(&[DRIVE_NUMBERS]).collect())?;
        self.read_at(self.directory().iter().chain(&[DRIVE_NUMBERS]).collect())
    }

    fn read_at(&self, beneath: PathBuf) -> Result<Pins, PinFailure> {
        let opened = countersign_config::user_file::open(&self.home, &beneath, self.owner);
        Self::parse(&self.home.join(beneath), opened)
    }

    fn read_in(&self, directory: &OwnDirectory) -> Result<Pins, PinFailure> {
        Self::parse(&directory.strict().path().join(DRIVE_NUMBERS), directory.strict().open(DRIVE_NUMBERS))
    }

    /// No file means no pins.
    fn parse(path: &Path, opened: Result<Opened, UserFileFailure>) -> Result<Pins, PinFailure> {
        match opened {
            Ok(opened) => {
                Pins::parse(&opened.read(FILE_MAX)?).map_err(|line| PinFailure::Line { path: path.to_owned(), line })
            }
            Err(failure) if failure.is_absence() => Ok(Pins::default()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// The number that a path begins with, if it does.
fn number_of(path: &str) -> Option<CoreDriveId> {
    CoreDriveId::parse(path.strip_prefix('/')?.split('/').next()?).ok()
}

#[cfg(test)]
mod tests;
