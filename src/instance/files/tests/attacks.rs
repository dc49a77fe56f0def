//! Ways out of a drive: each ends in a 4xx, and nothing outside is ever read or changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::*;
use crate::files::path::PathError;

/// The kernel gives up a resolution with `..` while any process renames anything, and after some
/// tries so does Countersign. The races rename without pause, so tests whose paths must resolve do
/// not run beside them.
static RENAMES: RwLock<()> = RwLock::new(());

/// Every request that takes this path, as source or as target.
pub(super) fn everything(path: &str) -> Vec<FilesRequest> {
    let mut all = vec![FilesRequest::Browse(browse(path)), retrieve(path), trash(path), empty_trash(path)];
    for policy in ["", "RENAME", "REJECT", "REPLACE", "MERGE_RENAME"] {
        all.push(folder(path, policy));
        all.push(move_(path, "new", policy));
        all.push(move_("mine", path, policy));
        all.push(copy(path, "new", policy));
        all.push(copy("mine", path, policy));
    }
    all
}

fn refused(desk: &Desk, path: &str, want: &dyn Fn(&FilesError) -> bool) {
    let before = desk.tree();
    for request in everything(path) {
        let context = format!("{request:?}");
        let trouble = desk.ask(request).expect_err(&context);
        assert!(want(&trouble), "{context}: {trouble:?}");
        let status = trouble.error_code().number();
        assert!((400..500).contains(&status), "{context}: {status}");
        assert_eq!(desk.tree(), before, "{context}");
    }
    desk.assert_outside_untouched();
}

#[test]
fn paths_that_are_none() {
    let desk = Desk::new("mine=1 f/x=1");
    let check = |path: &str, error: PathError| {
        refused(&desk, path, &|trouble| *trouble == FilesError::Path(error));
    };
    check("..", PathError::Dots);
    check("../outside/secret", PathError::Dots);
    check("f/../../outside/secret", PathError::Dots);
    check("f/..", PathError::Dots);
    check("./mine", PathError::Dots);
    check("/etc/passwd", PathError::EmptyName);
    check("f//x", PathError::EmptyName);
    check("mine\0", PathError::Nul);
    check("f\0/../x", PathError::Nul);
    check(&"x".repeat(256), PathError::NameTooLong);
    check(&"x/".repeat(5000), PathError::TooLong);
}

/// Every kind of link that leads out, in the middle of a path.
#[test]
fn through_links_that_lead_out() {
    let _calm = RENAMES.read().unwrap_or_else(PoisonError::into_inner);
    let links = "mine=1 f/g/ abs->OUT rel->../outside dots->.. f/up->../../outside f/g/far->../../../outside \
                 chain->abs root->/ proc->/proc/self/root cwd->/proc/self/cwd f/back->../../drive/../outside";
    let desk = Desk::new(links);
    for link in ["abs", "rel", "f/up", "f/g/far", "chain", "f/back"] {
        for inner in ["secret", "folder", "folder/inner", "new"] {
            refused(&desk, &format!("{link}/{inner}"), &|trouble| {
                matches!(trouble, FilesError::Outside | FilesError::NotTrash)
            });
        }
    }
    for path in ["dots/outside/secret", "root/etc/passwd", "root/tmp/new", "proc/etc/passwd", "cwd/new"] {
        refused(&desk, path, &|trouble| matches!(trouble, FilesError::Outside | FilesError::NotTrash));
    }
    // An absolute link is never followed, even if it leads back in: the kernel cannot know that.
    let home = desk.drive();
    std::os::unix::fs::symlink(home.join("f"), home.join("in")).unwrap();
    refused(&desk, "in/g", &|trouble| matches!(trouble, FilesError::Outside | FilesError::NotTrash));
}

/// At the end of a path nothing is read through such a link. The link itself may be moved like a
/// file.
#[test]
fn links_that_lead_out_themselves() {
    let desk = Desk::new("abs->OUT rel->../outside file->OUT/secret gone->OUT/new loop->loop");
    for link in ["abs", "rel"] {
        assert_eq!(desk.ask(FilesRequest::Browse(browse(link))), Err(FilesError::Outside), "{link}");
    }
    for link in ["abs", "rel", "file", "gone", "loop"] {
        assert_eq!(desk.ask(retrieve(link)), Err(FilesError::Outside), "{link}");
    }
    // A browse shows the links themselves, and nothing of their targets.
    let page = desk.ask(FilesRequest::Browse(browse(""))).unwrap();
    for item in page["items"].as_array().unwrap() {
        let link = item["id"].as_str().unwrap().strip_prefix("/d/").unwrap();
        let own = std::fs::symlink_metadata(desk.drive().join(link)).unwrap().len();
        assert_eq!(item["status"]["type"], "FILE", "{link}");
        assert_eq!(item["status"]["sizeInBytes"], own, "{link}");
    }
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
    for policy in ["REJECT", "REPLACE", "MERGE_RENAME"] {
        check(
            "l->OUT/new mine=1",
            copy("mine", "l", policy),
            match policy {
                "REJECT" => Err(FilesError::Exists),
                "REPLACE" => Ok("mine=1 l=1"),
                _ => Ok("mine=1 l->OUT/new l(1)=1"),
            },
        );
    }
    desk.assert_outside_untouched();
}

/// A drive in `/proc` is full of magic links, which jump anywhere without a path that could be
/// checked.
#[test]
fn magic_links() {
    let desk = Desk::new("");
    let files = Files::new(Drives::new([("d".to_owned(), PathBuf::from("/proc/self"))]).unwrap());
    let secret = std::fs::File::open(desk.outside()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&secret);
    for path in ["root/etc".to_owned(), "cwd/src".to_owned(), "exe".to_owned(), format!("fd/{number}/secret")] {
        let get = |request| desk.runtime.block_on(files.perform(request)).map_err(|error| error.trouble);
        assert_eq!(get(retrieve(&path)), Err(FilesError::Outside), "{path}");
        assert_eq!(get(folder(&format!("{path}/new"), "")), Err(FilesError::Outside), "{path}");
        let out =
            MoveOrCopy { old_id: format!("/d/{path}/x"), new_id: "/d/new".to_owned(), conflict_policy: String::new() };
        assert_eq!(get(FilesRequest::Copy(vec![out])), Err(FilesError::Outside), "{path}");
    }
    desk.assert_outside_untouched();
}

/// An attacker swaps a folder for a link out of the drive, over and over, during all kinds of work.
#[test]
fn races() {
    let _alone = RENAMES.write().unwrap_or_else(PoisonError::into_inner);
    const ROUNDS: usize = 400;
    let desk = Desk::in_folder(in_memory(), "mine/x=1 mine/y=2 door/folder/inner=own door/secret=own link->OUT");
    let drive = desk.drive();
    let stop = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (door, link) = (drive.join("door"), drive.join("link"));
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &door, AT_FDCWD, &link, flags).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let requests = [
                copy("mine", &format!("door/copy{round}"), "RENAME"),
                copy("mine", "door/folder", "MERGE_RENAME"),
                copy("mine/x", "door/secret", "REPLACE"),
                move_(&format!("door/copy{round}"), &format!("door/moved{round}"), "REPLACE"),
                copy("door/secret", &format!("got{round}"), "RENAME"),
                copy("door/folder", &format!("all{round}"), "RENAME"),
                folder(&format!("door/new{round}/deeper"), "RENAME"),
                trash(&format!("door/moved{round}")),
                trash("door/folder/inner"),
                FilesRequest::Browse(browse("door")),
                retrieve("door/secret"),
                empty_trash("Trash"),
            ];
            for request in requests {
                match desk.ask(request.clone()) {
                    Ok(_) => done += 1,
                    Err(trouble) => {
                        refused += 1;
                        let status = trouble.error_code().number();
                        assert!((400..500).contains(&status), "{request:?}: {trouble:?}");
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    desk.assert_outside_untouched();
    assert!(done > ROUNDS && refused > ROUNDS, "{done} done, {refused} refused: both must happen");
    let leaked: Vec<_> = desk.tree().into_iter().filter(|line| line.contains("safe")).collect();
    assert_eq!(leaked, Vec::<String>::new(), "what lies outside was read");
}

/// The same inside a tree that is being copied or removed: no step of a walk follows a link.
#[test]
fn races_within_a_walk() {
    let _alone = RENAMES.write().unwrap_or_else(PoisonError::into_inner);
    const ROUNDS: usize = 300;
    let desk = Desk::in_folder(in_memory(), "mine/a/b/inner=own mine/link->OUT/folder");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for at in ["mine", "Trash/t"] {
                    let (inner, link) = (desk.drive().join(at).join("a/b"), desk.drive().join(at).join("link"));
                    let _ = renameat2(AT_FDCWD, &inner, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE);
                }
            }
        });
        for round in 0..ROUNDS {
            let name = format!("copy{round}");
            if desk.ask(copy("mine", "Trash/t", "REPLACE")) == Err(FilesError::NotFound) {
                desk.ask(folder("Trash", "REPLACE")).unwrap();
            }
            let _ = desk.ask(copy("mine", &name, "REJECT"));
            let _ = desk.ask(trash(&name));
            let _ = desk.ask(empty_trash("Trash"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    desk.assert_outside_untouched();
    assert!(!desk.tree().iter().any(|line| line.contains("safe")));
}

/// While any process on the machine renames, the kernel gives up a path with `..` again and again.
/// The path still resolves, or is reported as in use where the renames leave no gap, which depends
/// on the scheduler. It never leads anywhere else.
#[test]
fn dots_resolve_while_others_rename_without_pause() {
    let _alone = RENAMES.write().unwrap_or_else(PoisonError::into_inner);
    const ROUNDS: usize = 100;
    // Long paths, so that a rename happens before the resolution ends.
    let way = "a/b/../../".repeat(30);
    let spec = format!("a/b/c/deep=x x=1 y=2 in->{way}a/b/c/deep out->{way}../outside/secret");
    let desk = Desk::in_folder(in_memory(), &spec);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (x, y) = (desk.drive().join("x"), desk.drive().join("y"));
                while !stop.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &x, AT_FDCWD, &y, RenameFlags::RENAME_EXCHANGE).unwrap();
                }
            });
        }
        let asked: Vec<_> =
            (0..ROUNDS).map(|_| (desk.ask(retrieve("in")).map(drop), desk.ask(retrieve("out")))).collect();
        stop.store(true, Ordering::Relaxed);
        let mut resolved = 0;
        for (inside, outside) in asked {
            assert!(matches!(inside, Ok(()) | Err(FilesError::InUse)), "{inside:?}");
            assert!(matches!(outside, Err(FilesError::Outside | FilesError::InUse)), "{outside:?}");
            resolved += usize::from(inside.is_ok() && outside == Err(FilesError::Outside));
        }
        assert!(resolved > 0, "not one of {ROUNDS}");
    });
}
