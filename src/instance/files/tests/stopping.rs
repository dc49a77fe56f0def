//! Tests of work that its user stops: no incomplete copy has a real name, and the counts match the
//! disk.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use super::super::bulk::{Bulk, Stop};
use super::super::progress::{Amount, Control, PIECE, Progress};
use super::super::relocate::CrossDevice;
use super::*;

/// The items of a request, and a desk for them.
fn bulk(desk: &Desk, request: FilesRequest) -> Bulk {
    let drives = Arc::clone(&desk.files.drives);
    let made = match request {
        FilesRequest::Copy(items) => Bulk::copying(&drives, &items, Consent::Asked),
        FilesRequest::EmptyTrash(items) => Bulk::emptying(&drives, &items),
        FilesRequest::Browse(_)
        | FilesRequest::Retrieve(_)
        | FilesRequest::CreateFolder(_)
        | FilesRequest::Move(_)
        | FilesRequest::Trash(_) => panic!("nothing long"),
    };
    made.unwrap()
}

fn stopped() -> Progress {
    let progress = Progress::default();
    progress.want(Control::Cancel);
    progress
}

#[test]
fn what_is_stopped_leaves_all_as_it_was() {
    let check = |before: &str, request: FilesRequest| {
        let desk = Desk::new(before);
        let outcome = bulk(&desk, request).run(0, CrossDevice::Copy, &stopped());
        assert_eq!(outcome, Err(Stop { item: 0, trouble: FilesError::Cancelled }), "{before:?}");
        assert_eq!(desk.tree(), entries(before), "{before:?}");
        assert!(scratch(&desk).is_empty(), "{:?}", scratch(&desk));
    };
    check("f/a=1 f/g/b=2", copy("f", "c", "RENAME"));
    check("a=1 b=2", copy("a", "b", "REPLACE"));
    check("f/a=1 c/a=2", copy("f", "c", "MERGE_RENAME"));
    check("Trash/a=1 Trash/f/b=2", empty_trash("Trash"));
}

#[test]
fn a_file_is_stopped_between_two_of_its_pieces() {
    let desk = Desk::new("f/small=1");
    let large = desk.drive().join("f/large");
    std::fs::write(&large, vec![7; usize::try_from(PIECE).unwrap() * 4]).unwrap();
    let progress = Arc::new(Progress::default());
    progress.want(Control::Pause);
    let (bulk, working) = (bulk(&desk, copy("f/large", "copy", "RENAME")), Arc::clone(&progress));
    let work = std::thread::spawn(move || bulk.run(0, CrossDevice::Copy, &working));
    while progress.done().bytes == 0 {
        std::thread::yield_now();
    }
    progress.want(Control::Cancel);
    assert_eq!(work.join().unwrap(), Err(Stop { item: 0, trouble: FilesError::Cancelled }));
    assert_eq!(progress.done(), Amount { files: 0, bytes: PIECE });
    assert!(!desk.drive().join("copy").exists());
    assert!(scratch(&desk).is_empty());
    assert_eq!(std::fs::metadata(large).unwrap().size(), PIECE * 4);
}

#[test]
fn what_is_counted_is_what_there_is() {
    let check = |before: &str, request: FilesRequest, want: Amount| {
        let desk = Desk::new(before);
        let bulk = bulk(&desk, request);
        assert_eq!(bulk.measure(), want, "{before:?}");
        let progress = Progress::default();
        bulk.run(0, CrossDevice::Copy, &progress).unwrap();
        assert_eq!(progress.done(), want, "{before:?}");
    };
    let amount = |files, bytes| Amount { files, bytes };
    check("a=1234", copy("a", "b", "RENAME"), amount(1, 4));
    check("f/a=12 f/g/b=345 f/l->a f/h/", copy("f", "c", "RENAME"), amount(6, 5));
    check("Trash/a=1 Trash/f/b=2 Trash/l->a", empty_trash("Trash"), amount(4, 0));
}

/// Names that Countersign made up.
fn scratch(desk: &Desk) -> Vec<String> {
    let names = std::fs::read_dir(desk.drive()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".countersign")).collect()
}
