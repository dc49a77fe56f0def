//! What UCloud's numbers of drives mean to this user: pinned in the user's own account when first heard of, and never changed.
//!
//! A user's paths begin with such a number, and the number alone is signed. The server says which of the configured drives it
//! stands for; if it says otherwise later, it is not believed (P3). Which folder a drive is says the configuration.
//!
//! Each provider has its own file, in its own directory: providers that share a home may be known to UCloud by different numbers. The file that
//! earlier releases kept for all providers is not written any more; a number in it keeps its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_keys::bind::{Items, Projection};
use countersign_keys::identity::{ProviderId, Uid};
use countersign_keys::store::drives::CoreDriveId;
use http::{Method, StatusCode};

use crate::config::strict_file::{Opened, StrictFileFailure};
use crate::config::{DRIVE_NUMBERS, UserDrives};
use crate::ipc::http::request;
use crate::ipc::messages::{DRIVES_REPORT, DriveTable, DrivesReport, NumberedDrive};
use crate::own_directory::{OwnDirectory, WriteFailure};
use crate::user::account::OwnAccount;

/// Where instances keep what they have to remember, below the home directory; the pins in a directory of their provider.
const DIRECTORY: [&str; 3] = [".local", "state", "countersign"];

/// Numbers that are pinned at most: those of every drive, several times over.
const PINS_MAX: usize = 512;

/// The longest file, in bytes.
const FILE_MAX: usize = PINS_MAX * 96;

/// The server is not asked more often for a number that it does not know.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Why numbers of drives cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PinFailure {
    /// The directory or file, or writing it.
    #[error(transparent)]
    Write(#[from] WriteFailure),
    /// The file cannot be trusted or read.
    #[error(transparent)]
    Strict(#[from] StrictFileFailure),
    /// A line of it is none.
    #[error("line {line} of {path} is no number and drive: mend or remove the file")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The file cannot be read, so none is pinned.
    #[error("UCloud's numbers of drives mean nothing here")]
    Unkept,
    /// The number means another drive, or there are too many.
    #[error("the number means another drive, or {PINS_MAX} numbers are known, which is as many as there can be")]
    NotTaken,
}

/// The numbers that are known.
#[derive(Debug, Default)]
pub(crate) struct DriveNumbers {
    /// Where they are kept, and whom to ask; `None`: there are none.
    keeping: Option<Keeping>,
    /// Bounded by [`PINS_MAX`]; nothing is ever taken out.
    pins: Mutex<Pins>,
    /// When the server was asked last.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Keeping {
    home: PathBuf,
    owner: Uid,
    provider: ProviderId,
    /// What an earlier release pinned for all providers.
    earlier: Pins,
    drives: UserDrives,
    socket: PathBuf,
}

/// Numbers and the ids that they mean.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Pins(BTreeMap<CoreDriveId, String>);

impl DriveNumbers {
    /// Those of the account, whose drives are these; the server is asked at that socket. Pins that cannot be read are none, and none is made:
    /// drives then go by the ids of the configuration alone.
    pub(crate) fn of(account: &OwnAccount, provider: &ProviderId, drives: UserDrives, socket: PathBuf) -> Self {
        let (home, owner, provider) = (account.home().to_owned(), account.uid(), provider.clone());
        let mut keeping = Keeping { home, owner, provider, earlier: Pins::default(), drives, socket };
        match keeping.read() {
            Ok(pins) => Self { keeping: Some(keeping), pins: Mutex::new(pins), asked: Mutex::default() },
            Err(failure) => {
                tracing::error!(%failure, "UCloud's numbers of drives mean nothing here");
                Self::default()
            }
        }
    }

    /// The id of the drive that a number means.
    pub(crate) fn meaning(&self, number: &str) -> Option<String> {
        let number = CoreDriveId::parse(number).ok()?;
        self.pins.lock().unwrap_or_else(PoisonError::into_inner).0.get(&number).cloned()
    }

    /// Tells the server which drives there are, and learns their numbers.
    pub(crate) async fn report(&self) {
        let Some(keeping) = &self.keeping else { return };
        let drives = keeping.drives.clone();
        let ids = tokio::task::spawn_blocking(move || drives.there()).await.unwrap_or_default();
        self.ask(keeping, DrivesReport { ids }).await;
    }

    /// A number that means this drive, if there is one: the same each time that it is asked for.
    pub(crate) fn number_of(&self, id: &str) -> Option<String> {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.0.iter().find(|(_, meaning)| *meaning == id).map(|(number, _)| number.as_str().to_owned())
    }

    /// Whether a number means this drive, or did at an earlier release.
    pub(crate) fn is_numbered(&self, id: &str) -> bool {
        let mut earlier = self.keeping.iter().flat_map(|keeping| keeping.earlier.0.values());
        self.number_of(id).is_some() || earlier.any(|meaning| meaning == id)
    }

    /// All numbers that mean this drive.
    pub(crate) fn numbers_of(&self, id: &str) -> Vec<String> {
        let pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        let meaning = pins.0.iter().filter(|(_, meaning)| *meaning == id);
        meaning.map(|(number, _)| number.as_str().to_owned()).collect()
    }

    /// Asks the server about numbers in a request's paths that mean nothing yet.
    pub(crate) async fn learn_for(&self, items: &Items<'_>) {
        let parameters = items.projections().iter().flat_map(Projection::parameters);
        self.learn_of(parameters.filter_map(|(_, value)| value.as_str())).await;
    }

    /// The same for these paths.
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
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_EVERY) {
            return false;
        }
        *asked = Some(now);
        true
    }

    async fn ask(&self, keeping: &Keeping, report: DrivesReport) {
        let answer = match request(&keeping.socket, Method::POST, DRIVES_REPORT, &report).await {
            Ok((StatusCode::OK, body)) => serde_json::from_slice::<DriveTable>(&body).ok(),
            Ok(_) | Err(_) => None,
        };
        match answer {
            None => tracing::warn!("the server does not say what UCloud calls the drives"),
            Some(table) => {
                if let Err(failure) = self.learn(keeping, table.drives) {
                    tracing::error!(%failure, "UCloud's numbers of drives cannot be kept, so they mean nothing");
                }
            }
        }
    }

    /// Takes the server's word for numbers that it has said nothing of before; they are on the disk before they mean anything.
    fn learn(&self, keeping: &Keeping, said: Vec<NumberedDrive>) -> Result<(), PinFailure> {
        let news = |pins: &Pins| -> Vec<NumberedDrive> {
            let mut room = PINS_MAX.saturating_sub(pins.0.len());
            let is_new = |drive: &NumberedDrive| keeping.takes(pins, drive);
            let mut news: Vec<NumberedDrive> = said.iter().filter(|drive| is_new(drive)).cloned().collect();
            news.truncate(room);
            room = room.saturating_sub(news.len());
            tracing::debug!(new = news.len(), room, "numbers of drives");
            news
        };
        if news(&self.pins.lock().unwrap_or_else(PoisonError::into_inner)).is_empty() {
            return Ok(());
        }
        self.change(keeping, |pins| {
            for drive in news(pins) {
                pins.0.insert(drive.number, drive.id);
            }
            Ok(())
        })
    }

    /// Pins the number of a drive that the user makes.
    pub(crate) fn pin(&self, drive: NumberedDrive) -> Result<(), PinFailure> {
        let keeping = self.keeping.as_ref().ok_or(PinFailure::Unkept)?;
        self.change(keeping, |pins| {
            if pins.0.len() >= PINS_MAX || !keeping.takes(pins, &drive) {
                return Err(PinFailure::NotTaken);
            }
            pins.0.insert(drive.number, drive.id);
            Ok(())
        })
    }

    /// Under the directory's lock: another instance of this account may have pinned meanwhile.
    fn change(
        &self,
        keeping: &Keeping,
        change: impl FnOnce(&mut Pins) -> Result<(), PinFailure>,
    ) -> Result<(), PinFailure> {
        let directory = OwnDirectory::make(&keeping.home, keeping.owner, &keeping.directory())?;
        let mut pins = keeping.read_in(&directory)?;
        change(&mut pins)?;
        directory.replace(DRIVE_NUMBERS, pins.to_string().as_bytes())?;
        *self.pins.lock().unwrap_or_else(PoisonError::into_inner) = pins;
        Ok(())
    }
}

impl Keeping {
    fn has(&self, id: &str) -> bool {
        self.drives.has(id)
    }

    /// Whether the server's word is about a number that means nothing yet, and a drive of this account.
    fn takes(&self, pins: &Pins, said: &NumberedDrive) -> bool {
        let NumberedDrive { number, id } = said;
        if !self.has(id) {
            return false;
        }
        if self.has(number.as_str()) {
            tracing::warn!(
                number = number.as_str(),
                "UCloud's number of a drive is the id of another: it stays that one's"
            );
            return false;
        }
        match pins.0.get(number).or_else(|| self.earlier.0.get(number).filter(|earlier| *earlier != id)) {
            None => true,
            Some(known) if known == id => false,
            Some(known) => {
                tracing::error!(
                    number = number.as_str(),
                    known,
                    said = id,
                    "ALARM: the server says that UCloud's number of a drive means another drive now; it stays what it was"
                );
                false
            }
        }
    }

    /// The directories down to that of the provider.
    fn directory(&self) -> [&str; 4] {
        let [first, second, third] = DIRECTORY;
        [first, second, third, self.provider.as_str()]
    }

    /// Reads both files: that of the provider, which is the answer, and that of earlier releases.
    fn read(&mut self) -> Result<Pins, PinFailure> {
        self.earlier = self.read_at(DIRECTORY.iter().chain(&[DRIVE_NUMBERS]).collect())?;
        self.read_at(self.directory().iter().chain(&[DRIVE_NUMBERS]).collect())
    }

    fn read_at(&self, beneath: PathBuf) -> Result<Pins, PinFailure> {
        let opened = crate::config::strict_file::open(&self.home, &beneath, self.owner);
        Self::parse(&self.home.join(beneath), opened)
    }

    fn read_in(&self, directory: &OwnDirectory) -> Result<Pins, PinFailure> {
        Self::parse(&directory.strict().path().join(DRIVE_NUMBERS), directory.strict().open(DRIVE_NUMBERS))
    }

    /// Without a file there are no pins.
    fn parse(path: &Path, opened: Result<Opened, StrictFileFailure>) -> Result<Pins, PinFailure> {
        match opened {
            Ok(opened) => {
                Pins::parse(&opened.read(FILE_MAX)?).map_err(|line| PinFailure::Line { path: path.to_owned(), line })
            }
            Err(failure) if failure.is_absence() => Ok(Pins::default()),
            Err(failure) => Err(failure.into()),
        }
    }
}

impl Pins {
    /// Reads a file, or says which line is none, counted from 1.
    fn parse(bytes: &[u8]) -> Result<Self, usize> {
        let mut pins = BTreeMap::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let bad = || index.saturating_add(1);
            let line = std::str::from_utf8(line).map_err(|_error| bad())?;
            let (number, id) = line.split_once(' ').ok_or_else(bad)?;
            let number = CoreDriveId::parse(number).map_err(|_error| bad())?;
            if pins.insert(number, id.to_owned()).is_some() {
                return Err(bad());
            }
        }
        Ok(Self(pins))
    }
}

impl std::fmt::Display for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(number, id)| writeln!(f, "{} {id}", number.as_str()))
    }
}

/// The number that a path begins with, if it does with one.
fn number_of(path: &str) -> Option<CoreDriveId> {
    CoreDriveId::parse(path.strip_prefix('/')?.split('/').next()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::as_conversions)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::user::files::drives::Drives;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
            Self(home)
        }

        fn keeping(&self, provider: &str) -> Keeping {
            let drive = |id: &str| (id.to_owned(), self.0.path().to_owned());
            Keeping {
                home: self.0.path().to_owned(),
                owner: Uid(nix::unistd::geteuid().as_raw()),
                provider: ProviderId::parse(provider).unwrap(),
                earlier: Pins::default(),
                drives: ["home", "work-bio", "12"].map(drive).into(),
                socket: self.0.path().join("nobody"),
            }
        }

        /// An instance that starts.
        fn numbers(&self) -> DriveNumbers {
            self.numbers_at("hpc")
        }

        /// One of that provider's.
        fn numbers_at(&self, provider: &str) -> DriveNumbers {
            let mut keeping = self.keeping(provider);
            let pins = Mutex::new(keeping.read().unwrap());
            DriveNumbers { keeping: Some(keeping), pins, asked: Mutex::default() }
        }

        fn file(&self) -> PathBuf {
            self.0.path().join(".local/state/countersign/hpc/drives")
        }

        /// That of earlier releases.
        fn earlier_file(&self) -> PathBuf {
            self.0.path().join(".local/state/countersign/drives")
        }
    }

    fn said(pairs: &[(&str, &str)]) -> Vec<NumberedDrive> {
        let said = |(number, id): &(&str, &str)| NumberedDrive {
            number: CoreDriveId::parse(number).unwrap(),
            id: (*id).to_owned(),
        };
        pairs.iter().map(said).collect()
    }

    fn learn(numbers: &DriveNumbers, pairs: &[(&str, &str)]) {
        numbers.learn(numbers.keeping.as_ref().unwrap(), said(pairs)).unwrap();
    }

    #[test]
    fn p3_a_number_means_what_it_meant_first_whatever_the_server_says_later() {
        let home = Home::new();
        let numbers = home.numbers();
        assert_eq!(numbers.meaning("4711"), None);
        learn(&numbers, &[("4711", "home"), ("4712", "work-bio")]);
        learn(&numbers, &[("4711", "work-bio"), ("4713", "home")]);
        let check = |numbers: &DriveNumbers| {
            assert_eq!(numbers.meaning("4711").unwrap(), "home");
            assert_eq!(numbers.meaning("4712").unwrap(), "work-bio");
            assert_eq!(numbers.meaning("4713").unwrap(), "home", "two numbers of one drive harm nobody");
            assert_eq!((numbers.number_of("home").unwrap(), numbers.number_of("12")), ("4711".to_owned(), None));
        };
        check(&numbers);
        // The next instance, and whatever the server tells that one.
        let next = home.numbers();
        check(&next);
        learn(&next, &[("4712", "home")]);
        check(&next);
        assert_eq!(std::fs::read_to_string(home.file()).unwrap(), "4711 home\n4712 work-bio\n4713 home\n");
        assert_eq!(std::fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_drives_of_the_configuration_have_numbers_and_its_ids_are_none() {
        let home = Home::new();
        let numbers = home.numbers();
        learn(&numbers, &[("1", "elsewhere"), ("2", "../etc"), ("12", "home"), ("3", "")]);
        for number in ["1", "2", "3", "12", "home", "", "04711"] {
            assert_eq!(numbers.meaning(number), None, "{number}");
        }
        assert!(!home.file().exists(), "nothing is written for nothing");
    }

    #[test]
    fn what_is_found_in_all_drives_has_the_number_that_ucloud_knows() {
        let home = Home::new();
        let numbers = home.numbers();
        learn(&numbers, &[("4711", "home")]);
        let drives = ["home", "work-bio"].map(|id| (id.to_owned(), home.0.path().to_owned()));
        let drives = Drives::new(drives).unwrap().with_numbers(std::sync::Arc::new(numbers));
        let all: Vec<String> = drives.all().iter().map(ToString::to_string).collect();
        assert_eq!(all, ["/4711", "/work-bio"]);
        assert!(drives.open(&drives.parse("/4711").unwrap()).is_ok());
        assert!(drives.parse("/4712").is_err());
    }

    #[test]
    fn what_another_instance_pinned_meanwhile_stands() {
        let home = Home::new();
        let (one, two) = (home.numbers(), home.numbers());
        learn(&one, &[("4711", "home")]);
        learn(&two, &[("4711", "work-bio")]);
        assert_eq!(two.meaning("4711").unwrap(), "home");
    }

    #[test]
    fn r03_two_providers_on_one_home_have_their_own_numbers() {
        let home = Home::new();
        let (hpc, lab) = (home.numbers_at("hpc"), home.numbers_at("lab"));
        learn(&hpc, &[("4711", "home")]);
        learn(&lab, &[("4711", "work-bio"), ("9000", "home")]);
        let check = |hpc: &DriveNumbers, lab: &DriveNumbers| {
            assert_eq!((hpc.meaning("4711").unwrap(), hpc.meaning("9000")), ("home".to_owned(), None));
            assert_eq!(
                (hpc.number_of("home").unwrap(), lab.number_of("home").unwrap()),
                ("4711".into(), "9000".into())
            );
            assert_eq!(lab.meaning("4711").unwrap(), "work-bio");
        };
        check(&hpc, &lab);
        check(&home.numbers_at("hpc"), &home.numbers_at("lab"));
    }

    #[test]
    fn r03_what_an_earlier_release_pinned_is_learnt_again_and_contradicted_by_nobody() {
        let home = Home::new();
        learn(&home.numbers(), &[("1", "home")]);
        std::fs::rename(home.file(), home.earlier_file()).unwrap();
        std::fs::write(home.earlier_file(), "4711 home\n4712 work-bio\n").unwrap();
        let numbers = home.numbers();
        assert!(numbers.is_numbered("work-bio") && !numbers.is_numbered("12"));
        learn(&numbers, &[("4711", "work-bio"), ("4712", "work-bio"), ("4713", "home")]);
        assert_eq!((numbers.meaning("4711"), numbers.number_of("home").unwrap()), (None, "4713".to_owned()));
        assert_eq!(numbers.meaning("4712").unwrap(), "work-bio");
        assert_eq!(std::fs::read_to_string(home.earlier_file()).unwrap(), "4711 home\n4712 work-bio\n");
        assert_eq!(std::fs::read_to_string(home.file()).unwrap(), "4712 work-bio\n4713 home\n");
    }

    #[test]
    fn pins_that_cannot_be_read_or_trusted_are_not_pins() {
        let home = Home::new();
        learn(&home.numbers(), &[("4711", "home")]);
        let check = |text: &str| {
            std::fs::write(home.file(), text).unwrap();
            let failure = home.keeping("hpc").read().unwrap_err();
            assert!(matches!(&failure, PinFailure::Line { line: 2, .. }), "{text:?}");
            assert!(failure.to_string().contains("/countersign/hpc/drives is no number"), "{failure}");
        };
        check("1 home\n1 work-bio\n");
        check("1 home\nhome\n");
        check("1 home\nx home\n");
        std::fs::write(home.file(), "1 home\n").unwrap();
        std::fs::set_permissions(home.file(), std::fs::Permissions::from_mode(0o622)).unwrap();
        assert!(matches!(home.keeping("hpc").read(), Err(PinFailure::Strict(_))));
    }

    #[test]
    fn the_first_word_of_a_path_may_be_a_number() {
        let check = |path: &str, want: Option<&str>| {
            assert_eq!(number_of(path).as_ref().map(CoreDriveId::as_str), want, "{path}");
        };
        check("/4711/a", Some("4711"));
        check("/4711", Some("4711"));
        check("4711/a", None);
        check("/home/4711", None);
        check("//4711", None);
        check("", None);
    }

    #[test]
    fn the_server_is_asked_seldom() {
        let numbers = Home::new().numbers();
        let now = Instant::now();
        assert!(numbers.may_ask(now));
        assert!(!numbers.may_ask(now + ASK_EVERY / 2));
        assert!(numbers.may_ask(now + ASK_EVERY));
    }
}
