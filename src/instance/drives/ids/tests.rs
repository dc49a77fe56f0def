//! Meanings of numbers when the server changes its answers.
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::drives::table::Drives;

const NOW: i64 = 1_800_000_000;
const KEPT_S: i64 = 70;

/// A home directory and the current time.
struct Home(tempfile::TempDir, Arc<AtomicI64>);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(home, Arc::new(AtomicI64::new(NOW)))
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
            clock: Clock::Set(Arc::clone(&self.1)),
            kept_s: KEPT_S,
        }
    }

    /// Starts an instance.
    fn numbers(&self) -> DriveNumbers {
        self.numbers_at("hpc")
    }

    /// Starts an instance of that provider.
    fn numbers_at(&self, provider: &str) -> DriveNumbers {
        let mut keeping = self.keeping(provider);
        let pins = Mutex::new(keeping.read().unwrap());
        DriveNumbers { keeping: Some(keeping), pins, asked_at: Mutex::default() }
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".local/state/countersign/hpc/drives")
    }

    /// The file of earlier releases.
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
    // The next instance keeps the meaning too, whatever the server says.
    let next = home.numbers();
    check(&next);
    learn(&next, &[("4712", "home")]);
    check(&next);
    assert_eq!(std::fs::read_to_string(home.file()).unwrap(), "4711 home\n4712 work-bio\n4713 home\n");
    assert_eq!(std::fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

fn pin(numbers: &DriveNumbers, number: &str, id: &str) -> Result<(), PinFailure> {
    numbers.pin(said(&[(number, id)]).remove(0))
}

/// `free` stands for the user's signed deletion: no other code calls it. Without it no answer of
/// the server frees a number.
#[test]
fn c16_p3_only_a_drive_that_its_user_deleted_gives_up_its_number() {
    let home = Home::new();
    let numbers = home.numbers();
    learn(&numbers, &[("13", "work-bio")]);
    learn(&numbers, &[("13", "home")]);
    assert!(matches!(pin(&numbers, "13", "home"), Err(PinFailure::InUse)));
    assert_eq!(numbers.meaning("13").unwrap(), "work-bio");

    numbers.free(&["work-bio".to_owned()]).unwrap();
    let check_nothing = |numbers: &DriveNumbers| {
        assert_eq!((numbers.meaning("13"), numbers.number_of("work-bio")), (None, None));
        assert_eq!(numbers.freed("13").unwrap(), "work-bio");
        assert!(numbers.is_numbered("work-bio"), "its id is not used again yet");
    };
    check_nothing(&numbers);
    // An intent from before the deletion may say 13, and mean the deleted drive.
    home.1.store(NOW + KEPT_S, Ordering::SeqCst);
    learn(&numbers, &[("13", "home")]);
    assert!(matches!(pin(&numbers, "13", "home"), Err(PinFailure::NotYet)));
    check_nothing(&numbers);
    let next = home.numbers();
    check_nothing(&next);

    home.1.store(NOW + KEPT_S + 1, Ordering::SeqCst);
    learn(&next, &[("13", "home")]);
    assert_eq!((next.meaning("13").unwrap(), next.freed("13")), ("home".to_owned(), None));
    learn(&next, &[("13", "work-bio")]);
    assert_eq!(next.meaning("13").unwrap(), "home", "and that is pinned again");
    assert_eq!(std::fs::read_to_string(home.file()).unwrap(), "13 home\n");
}

#[test]
fn c16_the_limit_counts_numbers_that_mean_drives() {
    let home = Home::new();
    let numbers = home.numbers();
    for number in 1_000..1_000 + PINS_MAX {
        pin(&numbers, &number.to_string(), "work-bio").unwrap();
    }
    assert!(matches!(pin(&numbers, "9000", "home"), Err(PinFailure::Full)));
    learn(&numbers, &[("9000", "home")]);
    assert_eq!(numbers.meaning("9000"), None);
    numbers.free(&["work-bio".to_owned()]).unwrap();
    pin(&numbers, "9000", "home").unwrap();
    assert_eq!(home.numbers().meaning("9000").unwrap(), "home");
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
    let drives = Drives::new(drives).unwrap().with_numbers(Arc::new(numbers));
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
        assert_eq!((hpc.number_of("home").unwrap(), lab.number_of("home").unwrap()), ("4711".into(), "9000".into()));
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
        assert!(failure.to_string().contains("/countersign/hpc/drives is not a number"), "{failure}");
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
