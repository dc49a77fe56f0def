//! Tests of copies: content, metadata and policies. A failed copy leaves nothing.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use super::*;
use crate::files::resolve::Identity;

#[test]
fn copy_to_a_free_name() {
    for policy in ["", "RENAME", "REJECT", "REPLACE", "MERGE_RENAME"] {
        check("a=1", copy("a", "b", policy), Ok("a=1 b=1"));
        check("a= f/", copy("a", "f/b", policy), Ok("a= f/b="));
        check("a/x=1 a/y/z=2 a/e/", copy("a", "b", policy), Ok("a/x=1 a/y/z=2 a/e/ b/x=1 b/y/z=2 b/e/"));
        check("a->OUT/secret", copy("a", "b", policy), Ok("a->OUT/secret b->OUT/secret"));
        check("a/l->OUT a/m->gone", copy("a", "b", policy), Ok("a/l->OUT a/m->gone b/l->OUT b/m->gone"));
        check("", copy("a", "b", policy), Err(FilesError::NotFound));
        check("a=1", copy("a", "f/b", policy), Err(FilesError::NotFound));
        check("a=1", copy("", "b", policy), Err(FilesError::WholeDrive));
        check("a=1", copy("a", "", policy), Err(FilesError::WholeDrive));
        check("a/b/c=1", copy("a", "a/b/d", policy), Err(FilesError::IntoItself));
        check("a/b/c=1 l->a/b", copy("a", "l/d", policy), Err(FilesError::IntoItself));
        check("a=1", copy("a", "a/b", policy), Err(FilesError::NotAFolder));
    }
}

#[test]
fn copy_to_a_taken_name() {
    check("a=1 b=2", copy("a", "b", "RENAME"), Ok("a=1 b=2 b(1)=1"));
    check("a.c=1", copy("a.c", "a.c", "RENAME"), Ok("a.c=1 a(1).c=1"));
    check("a/x=1", copy("a", "a", ""), Ok("a/x=1 a(1)/x=1"));
    check("a/x=1 b/y=2", copy("a", "b", "RENAME"), Ok("a/x=1 b/y=2 b(1)/x=1"));
    check("a=1 b=2", copy("a", "b", "REJECT"), Err(FilesError::Exists));
    check("a=1", copy("a", "a", "REJECT"), Err(FilesError::Exists));
    check("a=1 b->gone", copy("a", "b", "REJECT"), Err(FilesError::Exists));
    check("a=1 b=2", copy("a", "b", "REPLACE"), Ok("a=1 b=1"));
    check("a=1", copy("a", "a", "REPLACE"), Ok("a=1"));
    check("a=1 b->OUT/secret", copy("a", "b", "REPLACE"), Ok("a=1 b=1"));
    check("a/b=1 a/c=2", copy("a/b", "a", "REPLACE"), Err(FilesError::IntoItself));
    check("a=1 b=2", copy("a", "b", "MERGE_RENAME"), Ok("a=1 b=2 b(1)=1"));
    check(
        "a/x=1 a/d/p=2 b/x=3 b/d/q=4",
        copy("a", "b", "MERGE_RENAME"),
        Ok("a/x=1 a/d/p=2 b/x=3 b/x(1)=1 b/d/p=2 b/d/q=4"),
    );
    check("a/d/x=1 b/d->OUT", copy("a", "b", "MERGE_RENAME"), Ok("a/d/x=1 b/d->OUT b/d(1)/x=1"));
}

/// A copy that fails half-way leaves nothing, and the file that it would replace is still there.
#[test]
fn copies_that_fail() {
    check("a| b=3", copy("a", "b", "REPLACE"), Err(FilesError::Special));
    for policy in ["RENAME", "MERGE_RENAME"] {
        check("a|", copy("a", "b", policy), Err(FilesError::Special));
        check("a/0=1 a/d/p| a/z=2 b/y=3", copy("a", "b", policy), Err(FilesError::Special));
        check("a/0=1 a/d/p| a/z=2 b=3", copy("a", "b", policy), Err(FilesError::Special));
        let deep = format!("a/x=1 a/{} b/y=1", "f/".repeat(120));
        check(&deep, copy("a", "b", policy), Err(FilesError::TooDeep));
    }
    let deep_enough = format!("a/{}", "f/".repeat(99));
    let twice = format!("{deep_enough} b/{}", "f/".repeat(99));
    check(&deep_enough, copy("a", "b", "REJECT"), Ok(&twice));
}

#[test]
fn permissions_and_times_are_kept() {
    let desk = Desk::new("a/f=1 a/g/ a/l->f");
    let at = |path: &str| desk.drive().join(path);
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    for (path, mode) in [("a/f", 0o640), ("a/g", 0o555), ("a", 0o750)] {
        let file = std::fs::File::open(at(path)).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // The set-user-ID bit, with which a program runs as its owner, must not be copied.
    std::fs::set_permissions(at("a/f"), std::fs::Permissions::from_mode(0o4640)).unwrap();
    desk.ask(copy("a", "b", "")).unwrap();
    for (path, mode) in [("b/f", 0o640), ("b/g", 0o555), ("b", 0o750)] {
        let stat = std::fs::metadata(at(path)).unwrap();
        assert_eq!(stat.permissions().mode() & 0o7777, mode, "{path}");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_234_567_890, 123_456_789), "{path}");
    }
}

#[test]
fn a_group_s_folder_keeps_its_group() {
    let desk = Desk::new("a/x=1 g/");
    std::fs::set_permissions(desk.drive().join("g"), std::fs::Permissions::from_mode(0o2770)).unwrap();
    desk.ask(copy("a", "g/a", "")).unwrap();
    let mode = std::fs::metadata(desk.drive().join("g/a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o2000, 0o2000);
}

#[test]
fn large_files_and_holes() {
    let desk = Desk::new("");
    let at = |path: &str| desk.drive().join(path);
    let mut file = std::fs::File::create(at("a")).unwrap();
    let island = vec![7_u8; 3_000_001];
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(&island).unwrap();
    file.set_len(3 << 30).unwrap();
    desk.ask(copy("a", "b", "REJECT")).unwrap();
    let (original, copied) = (file.metadata().unwrap(), std::fs::metadata(at("b")).unwrap());
    assert_eq!(copied.len(), 3 << 30);
    assert!(copied.blocks() <= original.blocks() + 64, "{} blocks", copied.blocks());
    let mut copied = std::fs::File::open(at("b")).unwrap();
    copied.seek(SeekFrom::Start((1 << 30) - 1)).unwrap();
    let mut read = vec![0_u8; island.len() + 2];
    copied.read_exact(&mut read).unwrap();
    assert_eq!((read[0], read[read.len() - 1]), (0, 0));
    assert_eq!(&read[1..=island.len()], island.as_slice());

    // Many data blocks, some of them next to the end of a hole.
    let file = std::fs::File::create(at("f")).unwrap();
    for (number, block) in [0_u64, 2, 3, 5, 16, 255, 257].into_iter().enumerate() {
        let island = vec![number as u8 + 1; 4096];
        std::os::unix::fs::FileExt::write_all_at(&file, &island, block * 4096).unwrap();
    }
    desk.ask(copy("f", "g", "REJECT")).unwrap();
    assert!(std::fs::read(at("f")).unwrap() == std::fs::read(at("g")).unwrap());

    let noise: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(at("c"), &noise).unwrap();
    desk.ask(copy("c", "e", "REJECT")).unwrap();
    assert_eq!(std::fs::read(at("e")).unwrap(), noise);
}

/// Two drives on two file systems: a move copies, then removes, and all policies hold.
#[test]
fn moves_between_file_systems() {
    fn with(before: (&str, &str), policy: &str, want: Result<(&str, &str), FilesError>) {
        let (near, far) = (Desk::new(before.0), Desk::in_folder(other_file_system(), before.1));
        let drives = [("n", near.drive()), ("f", far.drive())].map(|(id, path)| (id.to_owned(), path));
        let files = Files::new(Drives::new(drives).unwrap());
        let item =
            MoveOrCopy { old_id: "/n/a".to_owned(), new_id: "/f/b".to_owned(), conflict_policy: policy.to_owned() };
        let got = near.runtime.block_on(files.perform(FilesRequest::Move(vec![item])));
        let after = want.clone().unwrap_or(before);
        assert_eq!(got.map(drop).map_err(|error| error.trouble), want.map(drop), "{before:?} {policy}");
        assert_eq!((near.tree(), far.tree()), (entries(after.0), entries(after.1)), "{before:?} {policy}");
        near.assert_outside_untouched();
        far.assert_outside_untouched();
    }
    for policy in ["", "REJECT", "REPLACE", "MERGE_RENAME"] {
        with(("a=1 x=2", "y=3"), policy, Ok(("x=2", "y=3 b=1")));
        with(("a/p/q=1 a/l->gone", ""), policy, Ok(("", "b/p/q=1 b/l->gone")));
    }
    with(("a=1", "b=2"), "REJECT", Err(FilesError::Exists));
    with(("a=1", "b=2"), "RENAME", Ok(("", "b=2 b(1)=1")));
    with(("a=1", "b=2"), "REPLACE", Ok(("", "b=1")));
    with(("a/x=1", "b/y=2"), "REPLACE", Err(FilesError::FolderNotReplaced));
    with(("a=1", "b/y=2"), "REPLACE", Err(FilesError::FolderNotReplaced));
    with(("a/x=1", "b/x=2"), "MERGE_RENAME", Ok(("", "b/x=2 b/x(1)=1")));
    with(("a/0=1 a/p|", "b/y=2"), "RENAME", Err(FilesError::Special));
    with(("a/0=1 a/p|", ""), "RENAME", Err(FilesError::Special));
}

/// If a step fails once the copy is complete, the source gets its name back.
#[test]
fn a_move_between_file_systems_that_fails_last() {
    let (near, far) = (Desk::new("a/x=1"), Desk::in_folder(other_file_system(), "b="));
    for number in 1..10_000 {
        std::fs::write(far.drive().join(format!("b({number})")), "").unwrap();
    }
    let before = far.tree();
    let drives = [("n", near.drive()), ("f", far.drive())].map(|(id, path)| (id.to_owned(), path));
    let files = Files::new(Drives::new(drives).unwrap());
    let item =
        MoveOrCopy { old_id: "/n/a".to_owned(), new_id: "/f/b".to_owned(), conflict_policy: "RENAME".to_owned() };
    let error = near.runtime.block_on(files.perform(FilesRequest::Move(vec![item]))).unwrap_err();
    assert_eq!(error.trouble, FilesError::Exists);
    assert_eq!(near.tree(), entries("a/x=1"));
    assert_eq!(far.tree(), before);
}

/// The leftovers of `kill -9` in the middle of a copy. The next instance removes them, and nothing
/// that only looks like them.
#[test]
fn what_a_killed_instance_left_of_a_copy_is_removed_and_nothing_else() {
    let desk =
        Desk::new("from/a=1 from/b/c=2 to/.countersign-copy-mine.part=user to/.countersign-1-1.part=user moved/");
    let notes = desk.whole.path().join("notes");
    let drives = Drives::new([("d".to_owned(), desk.drive())]).unwrap().with_notes_in(notes.clone());
    let before = desk.tree();
    let slot = |path: &str| {
        let place = drives.open(&drives.parse(&format!("/d/{path}")).unwrap()).unwrap();
        place.root.slot(place.path.inside()).unwrap()
    };
    let count = || std::fs::read_dir(&notes).unwrap().count();
    let leave = |beside: &str| {
        let (copy, mut note) = slot(beside).unfinished().unwrap();
        let at = desk.drive().join(beside).with_file_name(copy.text());
        build(&at, "half/done=x", &desk.outside());
        note.made(Identity::of(&copy.stat().unwrap()));
        (at, note)
    };
    std::fs::create_dir(desk.drive().join("gone")).unwrap();
    let (killed, under_way, lost) = (leave("to/x"), leave("to/y"), leave("gone/z"));
    assert_eq!(count(), 3);
    // The kernel releases the locks of a killed process, but its notes remain.
    for copy in [&killed.0, &lost.0] {
        let path = notes.join(copy.file_name().unwrap());
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    // Since then the user has moved one of the folders and put their own note among the instance's.
    std::fs::rename(desk.drive().join("gone"), desk.drive().join("moved/gone")).unwrap();
    std::fs::write(notes.join("from"), desk.drive().as_os_str().as_encoded_bytes()).unwrap();
    drives.clean_up();
    assert!(!killed.0.exists() && under_way.0.exists());
    assert!(desk.drive().join("moved/gone").join(lost.0.file_name().unwrap()).exists(), "where it went is not known");
    assert_eq!(count(), 2, "the note of the copy under way, and the file that is not a note");
    std::fs::remove_dir_all(&under_way.0).unwrap();
    std::fs::remove_dir_all(desk.drive().join("moved/gone")).unwrap();
    assert_eq!(desk.tree(), before);
}
