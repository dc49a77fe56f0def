//! Tests of incoming files: their result, and no leftovers when they are given up or their instance
//! is killed.

use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use crate::files::incoming::Incoming;
use crate::files::operations::Location;
use crate::files::rename::link_and_unlink;
use crate::files::request::ConflictPolicy;

use super::*;

fn drives(desk: &Desk) -> Drives {
    Drives::new([("d".to_owned(), desk.drive())]).unwrap().with_notes_in(desk.whole.path().join("notes"))
}

fn place(desk: &Desk, path: &str) -> Location {
    let drives = drives(desk);
    drives.open(&drives.parse(&format!("/d/{path}")).unwrap()).unwrap()
}

fn notes(desk: &Desk) -> usize {
    std::fs::read_dir(desk.whole.path().join("notes")).map_or(0, Iterator::count)
}

/// Writes an incoming file with the content `new`. No leftovers remain, whatever the outcome.
fn check(before: &str, path: &str, policy: ConflictPolicy, want: Result<&str, FilesError>) {
    let desk = Desk::new(before);
    let context = format!("{path:?} {policy:?} on {before:?}");
    let come_in = || {
        let mut incoming = Incoming::begin(&place(&desk, path), policy)?;
        incoming.write_at(0, b"ne")?;
        incoming.write_at(2, b"w")?;
        incoming.commit(None).map(drop)
    };
    let outcome = come_in();
    assert_eq!(outcome, want.clone().map(drop), "{context}");
    assert_eq!(desk.tree(), entries(want.unwrap_or(before)), "{context}");
    assert_eq!(notes(&desk), 0, "{context}");
    desk.assert_outside_untouched();
}

#[test]
fn policies() {
    use ConflictPolicy::{MergeRename, Reject, Rename, Replace};
    for policy in [Rename, Reject, Replace, MergeRename] {
        check("", "a", policy, Ok("a=new"));
        check("f/x=1", "f/a", policy, Ok("f/x=1 f/a=new"));
        check("l->f f/", "l/a", policy, Ok("l->f f/a=new"));
        check("", "f/a", policy, Err(FilesError::NotFound));
        check("f=1", "f/a", policy, Err(FilesError::NotAFolder));
        check("l->OUT", "l/a", policy, Err(FilesError::Outside));
        check("", "", policy, Err(FilesError::WholeDrive));
    }
    check("a.c=1", "a.c", Rename, Ok("a.c=1 a(1).c=new"));
    check("a.c=1", "a.c", MergeRename, Ok("a.c=1 a(1).c=new"));
    check("a=1", "a", Reject, Err(FilesError::Exists));
    check("a=1", "a", Replace, Ok("a=new"));
    check("a->OUT/secret", "a", Replace, Ok("a=new"));
    check("a->gone", "a", Rename, Ok("a->gone a(1)=new"));
    // A file's name is never meant to replace a folder with all its content.
    check("a/x=1", "a", Replace, Err(FilesError::FolderNotReplaced));
    check("a/x=1", "a", Rename, Ok("a/x=1 a(1)=new"));
}

#[test]
fn nothing_has_the_real_name_before_the_end_and_what_is_given_up_is_gone() {
    let desk = Desk::new("a=old");
    let mut incoming = Incoming::begin(&place(&desk, "a"), ConflictPolicy::Replace).unwrap();
    incoming.write_at(0, b"half").unwrap();
    assert_eq!(std::fs::read(desk.drive().join("a")).unwrap(), b"old");
    assert_eq!((desk.tree().len(), notes(&desk)), (2, 1));
    drop(incoming);
    assert_eq!((desk.tree(), notes(&desk)), (entries("a=old"), 0));
}

#[test]
fn a_name_that_is_taken_at_the_last_moment() {
    use ConflictPolicy::{Reject, Rename, Replace};
    let check = |policy, taken: &str, want: Result<&str, FilesError>| {
        let desk = Desk::new("");
        let mut incoming = Incoming::begin(&place(&desk, "a"), policy).unwrap();
        incoming.write_at(0, b"new").unwrap();
        build(&desk.drive(), taken, &desk.outside());
        assert_eq!(incoming.commit(None).map(drop), want.clone().map(drop));
        assert_eq!(desk.tree(), entries(want.unwrap_or(taken)), "{policy:?} {taken}");
    };
    check(Reject, "a=theirs", Err(FilesError::Exists));
    check(Rename, "a=theirs", Ok("a=theirs a(1)=new"));
    check(Replace, "a=theirs", Ok("a=new"));
    check(Replace, "a/x=theirs", Err(FilesError::FolderNotReplaced));
}

#[test]
fn what_will_not_have_its_name_is_refused_before_it_is_sent() {
    let desk = Desk::new("file=1 folder/");
    let begin = |path: &str, policy| Incoming::begin(&place(&desk, path), policy).map(drop);
    assert_eq!(begin("file", ConflictPolicy::Reject), Err(FilesError::Exists));
    assert_eq!(begin("folder", ConflictPolicy::Replace), Err(FilesError::FolderNotReplaced));
    assert_eq!(begin("folder", ConflictPolicy::Rename), Ok(()));
}

#[test]
fn it_is_written_without_gaps() {
    let desk = Desk::new("");
    let mut incoming = Incoming::begin(&place(&desk, "a"), ConflictPolicy::Reject).unwrap();
    assert_eq!(incoming.write_at(1, b"x"), Err(FilesError::Gap));
    incoming.write_at(0, b"0123").unwrap();
    assert_eq!(incoming.write_at(5, b"x"), Err(FilesError::Gap));
    assert_eq!(incoming.write_at(u64::MAX, b"x"), Err(FilesError::Gap));
    // Bytes that are sent again because an answer was lost count once.
    incoming.write_at(2, b"23456").unwrap();
    incoming.write_at(0, b"01").unwrap();
    assert_eq!(incoming.written(), 7);
    incoming.truncate(9).unwrap();
    assert_eq!(incoming.written(), 7);
    incoming.truncate(3).unwrap();
    assert_eq!((incoming.written(), incoming.write_at(4, b"x")), (3, Err(FilesError::Gap)));
    incoming.write_at(3, b"!").unwrap();
    incoming.commit(None).unwrap();
    assert_eq!(desk.tree(), entries("a=012!"));
}

#[test]
fn permissions_and_times() {
    let desk = Desk::new("s=secret");
    let at = |path: &str| std::fs::metadata(desk.drive().join(path)).unwrap();
    std::fs::set_permissions(desk.drive().join("s"), std::fs::Permissions::from_mode(0o4701)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    for path in ["s", "n"] {
        let incoming = Incoming::begin(&place(&desk, path), ConflictPolicy::Replace).unwrap();
        assert_eq!(incoming.commit(Some(time)).unwrap().text(), path);
    }
    assert_eq!(
        at("s").permissions().mode() & 0o7777,
        0o701,
        "who could read it can, and that it ran as its owner ends"
    );
    let made = at("n").permissions().mode();
    assert_eq!(made & 0o7111, 0, "a login of the user makes no program: {made:o}");
    assert_eq!(at("n").modified().unwrap(), time);
}

/// Where the kernel cannot refuse to replace, as on NFS.
#[test]
fn a_file_gets_its_name_by_a_link() {
    let desk = Desk::new("new=2 taken=1");
    let slot = |path: &str| place(&desk, path).slot().unwrap();
    assert_eq!(link_and_unlink(&slot("new"), &slot("taken")), Err(nix::errno::Errno::EEXIST));
    assert_eq!(desk.tree(), entries("new=2 taken=1"));
    link_and_unlink(&slot("new"), &slot("free")).unwrap();
    assert_eq!(desk.tree(), entries("free=2 taken=1"));
}

/// `kill -9` in the middle. It needs a separate process, because only the kernel releases its
/// locks.
#[test]
fn of_a_killed_instance_nothing_is_left() {
    const DRIVE: &str = "COUNTERSIGN_TEST_KILLED_IN";
    if let Some(whole) = std::env::var_os(DRIVE) {
        let drives = Drives::new([("d".to_owned(), PathBuf::from(&whole).join("drive"))]).unwrap();
        let drives = drives.with_notes_in(PathBuf::from(&whole).join("notes"));
        let place = drives.open(&drives.parse("/d/a").unwrap()).unwrap();
        let mut incoming = Incoming::begin(&place, ConflictPolicy::Replace).unwrap();
        incoming.write_at(0, b"half").unwrap();
        std::process::abort();
    }
    let desk = Desk::new("a=old");
    let name = "files::tests::incoming::of_a_killed_instance_nothing_is_left";
    let mut killed = std::process::Command::new(std::env::current_exe().unwrap());
    killed.args(["--exact", name, "--test-threads=1"]).env(DRIVE, desk.whole.path());
    assert!(!killed.output().unwrap().status.success());
    assert_eq!((desk.tree().len(), notes(&desk)), (2, 1), "what was half done, and its note");
    drives(&desk).clean_up();
    assert_eq!((desk.tree(), notes(&desk)), (entries("a=old"), 0));
}
