//! Tests that need their own file systems: full ones, and ones mounted inside a drive.
//!
//! `unshare --user --map-root-user --mount cargo test -p countersign mounts -- --ignored`

use std::process::Command;

use crate::files::incoming::Incoming;
use crate::files::request::ConflictPolicy;

use super::*;

const WHY: &str = "mounts file systems: run it in a mount namespace";

pub(crate) fn mount(at: &Path, arguments: &[&str]) {
    let status = Command::new("mount").args(arguments).arg(at).status().expect(WHY);
    assert!(status.success(), "{WHY}");
}

/// A drive with room for a megabyte and some forty files.
fn small(spec: &str) -> Desk {
    let whole = TempDir::new().unwrap();
    mount(whole.path(), &["-t", "tmpfs", "-o", "size=1M,nr_inodes=50", "none"]);
    Desk::in_folder(whole, spec)
}

fn unmount(desk: Desk) {
    unmount_at(desk.whole.path());
    drop(desk);
}

pub(crate) fn unmount_at(at: &Path) {
    let status = Command::new("umount").args(["-l", at.to_str().unwrap()]).status().unwrap();
    assert!(status.success());
}

#[test]
#[ignore = "mounts file systems: run it in a mount namespace"]
fn mounts_that_are_too_small_for_what_comes_in() {
    let desk = small("a=old");
    let place = {
        let drives = Drives::new([("d".to_owned(), desk.drive())]).unwrap();
        drives.open(&drives.parse("/d/a").unwrap()).unwrap()
    };
    let mut incoming = Incoming::begin(&place, ConflictPolicy::Replace).unwrap();
    incoming.write_at(0, &[7; 700_000]).unwrap();
    assert_eq!(incoming.write_at(700_000, &[7; 700_000]), Err(FilesError::NoSpace));
    // Once there is room again, the file can continue from its position.
    assert_eq!(incoming.written(), 700_000);
    drop(incoming);
    assert_eq!(desk.tree(), entries("a=old"));
    unmount(desk);
}

#[test]
#[ignore = "mounts file systems: run it in a mount namespace"]
fn mounts_that_are_full() {
    for policy in ["RENAME", "MERGE_RENAME"] {
        let desk = small("a/small=1 b/old=2");
        std::fs::write(desk.drive().join("a/large"), vec![7; 700_000]).unwrap();
        let before = desk.tree();
        assert_eq!(desk.ask(copy("a", "b", policy)), Err(FilesError::NoSpace), "{policy}");
        assert_eq!(desk.tree(), before, "{policy}");
        unmount(desk);
    }
    // If the last folder of a path does not fit, all folders made on the way are removed.
    let desk = small("a/");
    let deep = "x/".repeat(60);
    assert_eq!(desk.ask(folder(&deep, "REJECT")), Err(FilesError::NoSpace));
    assert_eq!(desk.tree(), entries("a/"));
    unmount(desk);

    // A failed move from elsewhere leaves the source where it was.
    let (near, far) = (Desk::new(""), small("b=2"));
    std::fs::write(near.drive().join("a"), vec![7; 2_000_000]).unwrap();
    let before = (near.tree(), far.tree());
    let drives = [("n", near.drive()), ("f", far.drive())].map(|(id, path)| (id.to_owned(), path));
    let files = Files::new(Drives::new(drives).unwrap());
    let item =
        MoveOrCopy { old_id: "/n/a".to_owned(), new_id: "/f/b".to_owned(), conflict_policy: "REPLACE".to_owned() };
    let error = near.runtime.block_on(files.perform(FilesRequest::Move(vec![item]))).unwrap_err();
    assert_eq!((error.error_code().number(), error.trouble.clone()), (413, FilesError::NoSpace));
    assert_eq!((near.tree(), far.tree()), before);
    drop(files);
    unmount(far);
}

#[test]
#[ignore = "mounts file systems: run it in a mount namespace"]
fn mounts_in_the_trash_are_not_emptied() {
    let desk = Desk::new("Trash/z/m/ keep/a=1");
    let keep = desk.drive().join("keep");
    mount(&desk.drive().join("Trash/z/m"), &["--bind", keep.to_str().unwrap()]);
    assert_eq!(desk.ask(empty_trash("Trash")), Err(FilesError::Mounted));
    assert_eq!(desk.tree(), entries("Trash/z/m/a=1 keep/a=1"));
    unmount_at(&desk.drive().join("Trash/z/m"));

    // The trash itself may be a mount too.
    let desk = Desk::new("Trash/ keep/a=1");
    let keep = desk.drive().join("keep");
    mount(&desk.drive().join("Trash"), &["--bind", keep.to_str().unwrap()]);
    assert_eq!(desk.ask(empty_trash("Trash")), Err(FilesError::Outside));
    assert_eq!(desk.tree(), entries("Trash/a=1 keep/a=1"));
    unmount_at(&desk.drive().join("Trash"));
}

#[test]
#[ignore = "mounts file systems: run it in a mount namespace"]
fn mounts_in_what_is_moved_or_copied() {
    let desk = Desk::new("a/m/ a/x=1 keep/y=2");
    let keep = desk.drive().join("keep");
    mount(&desk.drive().join("a/m"), &["--bind", keep.to_str().unwrap()]);
    // A copy includes mounted content; within a file system, a move takes the mount along.
    desk.ask(copy("a", "b", "REJECT")).unwrap();
    assert_eq!(desk.tree(), entries("a/m/y=2 a/x=1 keep/y=2 b/m/y=2 b/x=1"));
    // A move out of a mount can reach another mount of the same file system.
    desk.ask(move_("a/m/y", "z", "REJECT")).unwrap();
    assert_eq!(desk.tree(), entries("a/m/ a/x=1 keep/ b/m/y=2 b/x=1 z=2"));
    // On a move to another file system the mount inside cannot come along, so nothing moves.
    let far = Desk::in_folder(other_file_system(), "");
    let drives = [("n", desk.drive()), ("f", far.drive())].map(|(id, path)| (id.to_owned(), path));
    let files = Files::new(Drives::new(drives).unwrap());
    let item = MoveOrCopy { old_id: "/n/a".to_owned(), new_id: "/f/a".to_owned(), conflict_policy: String::new() };
    let error = desk.runtime.block_on(files.perform(FilesRequest::Move(vec![item]))).unwrap_err();
    assert_eq!(error.trouble, FilesError::Mounted);
    assert_eq!(far.tree(), entries(""));
    assert_eq!(desk.tree(), entries("a/m/ a/x=1 keep/ b/m/y=2 b/x=1 z=2"));
    // One folder by two names is still one folder: it does not move into itself, and a move onto
    // itself changes nothing.
    assert_eq!(desk.ask(move_("keep", "a/m/in", "")), Err(FilesError::IntoItself));
    assert_eq!(desk.ask(copy("keep", "a/m/in", "")), Err(FilesError::IntoItself));
    std::fs::write(keep.join("y"), "3").unwrap();
    desk.ask(move_("keep/y", "a/m/y", "REPLACE")).unwrap();
    assert_eq!(std::fs::read(keep.join("y")).unwrap(), b"3");
    unmount_at(&desk.drive().join("a/m"));
}
