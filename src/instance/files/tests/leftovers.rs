//! Tests of the notes of running copies and uploads. Whenever an instance stops, and whichever
//! instance cleans up meanwhile, its leftovers can be removed.

use std::cell::Cell;

use super::*;
use crate::files::error::FilesError;
use crate::files::incoming::Incoming;
use crate::files::leftovers::{Step, Unfinished};
use crate::files::remove::remove;
use crate::files::request::ConflictPolicy;
use crate::files::resolve::{EntryRef, Identity};

fn drives(desk: &Desk) -> Drives {
    Drives::new([("d".to_owned(), desk.drive())]).unwrap().with_notes_in(desk.whole.path().join("notes"))
}

fn slot(desk: &Desk, path: &str) -> EntryRef {
    let drives = drives(desk);
    let place = drives.open(&drives.parse(&format!("/d/{path}")).unwrap()).unwrap();
    place.root.slot(place.path.inside()).unwrap()
}

fn notes(desk: &Desk) -> usize {
    std::fs::read_dir(desk.whole.path().join("notes")).map_or(0, Iterator::count)
}

const STEPS: [Step; 3] = [Step::Made, Step::Locked, Step::Written];

/// An instance that is killed between any two steps. It needs a separate process, because only the
/// kernel releases its locks.
#[test]
fn s19_nothing_is_left_of_an_upload_that_is_killed_at_any_step() {
    const DRIVE: &str = "COUNTERSIGN_TEST_KILLED_AT";
    let name = "files::tests::leftovers::s19_nothing_is_left_of_an_upload_that_is_killed_at_any_step";
    if let Some(at) = std::env::var_os(DRIVE) {
        let at = at.into_string().unwrap();
        let (step, whole) = at.split_once(' ').unwrap();
        let whole = PathBuf::from(whole);
        let drives = Drives::new([("d".to_owned(), whole.join("drive"))]).unwrap().with_notes_in(whole.join("notes"));
        let place = drives.open(&drives.parse("/d/a").unwrap()).unwrap();
        let slot = place.root.slot(place.path.inside()).unwrap();
        let stop = |reached| {
            if format!("{reached:?}") == step {
                std::process::abort();
            }
        };
        let (scratch, mut note) =
            Unfinished::noted_in(whole.join("notes")).begin_in_steps(&slot, &stop).expect("a note");
        let path = whole.join("drive").join(scratch.text());
        std::fs::write(&path, "").unwrap();
        if step == "Empty" {
            std::process::abort();
        }
        note.made(Identity::of(&scratch.stat().unwrap()));
        std::fs::write(&path, "half").unwrap();
        std::process::abort();
    }
    for step in ["Made", "Locked", "Written", "Empty", "Half"] {
        let desk = Desk::new("a=old");
        let mut killed = std::process::Command::new(std::env::current_exe().unwrap());
        killed
            .args(["--exact", name, "--test-threads=1"])
            .env(DRIVE, format!("{step} {}", desk.whole.path().display()));
        assert!(!killed.output().unwrap().status.success());
        assert_eq!(notes(&desk), 1, "{step}");
        drives(&desk).clean_up();
        assert_eq!((desk.tree(), notes(&desk)), (entries("a=old"), 0), "{step}");
    }
}

/// Another instance of the same user starts, and cleans up, between any two steps. The note that
/// finally remains is valid.
#[test]
fn s19_a_note_outlives_whoever_cleans_up_while_it_is_made() {
    for step in STEPS {
        let desk = Desk::new("a=old");
        let cleaned = Cell::new(0);
        let clean = |reached| {
            if reached == step && cleaned.get() == 0 {
                cleaned.set(1);
                drives(&desk).clean_up();
            }
        };
        let unfinished = Unfinished::noted_in(desk.whole.path().join("notes"));
        let (scratch, note) = unfinished.begin_in_steps(&slot(&desk, "a"), &clean).unwrap();
        assert_eq!((cleaned.get(), notes(&desk)), (1, 1), "{step:?}");
        let path = desk.drive().join(scratch.text());
        std::fs::write(&path, "half").unwrap();
        drives(&desk).clean_up();
        assert!(path.exists(), "{step:?}: it is under way");
        assert!(unfinished.is_noted(scratch.name()), "{step:?}");
        drop(note);
        assert_eq!(notes(&desk), 0, "{step:?}");
    }
}

#[test]
fn r03_cleaning_up_leaves_files_that_are_not_notes() {
    let desk = Desk::new("");
    let directory = desk.whole.path().join("notes");
    std::fs::create_dir_all(&directory).unwrap();
    let journal = directory.join("intents");
    std::fs::write(&journal, "used").unwrap();
    drives(&desk).clean_up();
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), "used");
}

#[test]
fn r10_what_is_not_complete_is_not_shown() {
    let mut desk = Desk::new("f/a=old f/.countersign-copy-mine.part=user");
    desk.files = Files::new(drives(&desk)).approved(Consent::Asked);
    let shown = || desk.ask(FilesRequest::Browse(browse("f"))).unwrap()["items"].as_array().unwrap().len();
    let mut incoming =
        Incoming::begin(&drives(&desk).open(&drives(&desk).parse("/d/f/b").unwrap()).unwrap(), ConflictPolicy::Reject)
            .unwrap();
    incoming.write_at(0, b"half").unwrap();
    assert_eq!((desk.tree().len(), shown()), (4, 2), "on the disk, and not in the listing");
    // Nor is it copied with its folder.
    desk.ask(copy("f", "g", "REJECT")).unwrap();
    assert_eq!(std::fs::read_dir(desk.drive().join("g")).unwrap().count(), 2);
    incoming.commit(None).unwrap();
    assert_eq!(shown(), 3);
    // A file without a note is the user's, whatever its name.
    let name = format!(".countersign-copy-{}.part", "0".repeat(32));
    std::fs::write(desk.drive().join("f").join(&name), "user").unwrap();
    assert_eq!(shown(), 4);
    drives(&desk).clean_up();
    assert_eq!(shown(), 4);
}

/// Another account that may rename in a folder could put there, in place of a copy, a folder that
/// it cannot remove itself.
#[test]
fn only_the_very_copy_is_removed() {
    let desk = Desk::new("theirs/precious=1 mine/x=1");
    let (copy, mine) = (slot(&desk, "copy"), slot(&desk, "mine"));
    let made = Identity::of(&mine.stat().unwrap());
    std::fs::rename(desk.drive().join("theirs"), desk.drive().join("copy")).unwrap();
    assert_eq!(remove(&copy, made), Err(FilesError::InUse));
    assert_eq!(desk.tree(), entries("copy/precious=1 mine/x=1"));
    remove(&mine, made).unwrap();
    assert_eq!(desk.tree(), entries("copy/precious=1"));

    // Nor by the next instance.
    let desk = Desk::new("theirs/precious=1");
    let unfinished = Unfinished::noted_in(desk.whole.path().join("notes"));
    let leave = |is_made: bool| {
        let (scratch, mut note) = unfinished.begin(&slot(&desk, "a")).unwrap();
        std::fs::create_dir(desk.drive().join(scratch.text())).unwrap();
        if is_made {
            note.made(Identity::of(&scratch.stat().unwrap()));
        }
        // The kernel releases the lock of a killed process, but its note remains.
        let path = desk.whole.path().join("notes").join(scratch.text());
        let text = std::fs::read(&path).unwrap();
        drop(note);
        std::fs::write(&path, text).unwrap();
        desk.drive().join(scratch.text())
    };
    for is_made in [true, false] {
        let scratch = leave(is_made);
        std::fs::remove_dir(&scratch).unwrap();
        std::fs::rename(desk.drive().join("theirs"), &scratch).unwrap();
        drives(&desk).clean_up();
        std::fs::rename(&scratch, desk.drive().join("theirs")).unwrap();
        assert_eq!((desk.tree(), notes(&desk)), (entries("theirs/precious=1"), 0));
    }
}
