//! Tests that no call reaches Countersign's own folders and `~/.ssh` by any path (V65).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::attacks::everything;
use super::*;
use crate::files::incoming::Incoming;
use crate::files::protected::{Protection, Whose};
use crate::files::request::ConflictPolicy;
use countersign_config::SshDirectory;

/// A home directory as the drive `d`, with every protected path.
const HOME: &str = "mine=1 f/x=1 .bashrc=rc .config/countersign/authorized_keys=pins .config/countersign/instance_key=secret \
                    .config/other/a=1 .local/share/b=2 .local/state/countersign/unfinished/note=n .ssh/authorized_keys=keys \
                    .ssh/keys/id=private";
const OWN: FilesError = FilesError::Protected(Whose::Countersign);
const SSH: FilesError = FilesError::Protected(Whose::Ssh);

fn protection(home: &Path) -> Protection {
    Protection::of(home, SshDirectory::Protected)
}

/// A desk with these drives below its own folder, and `drive` as the home directory.
fn desk_with(spec: &str, drives: &[(&str, &str)]) -> Desk {
    let mut desk = Desk::new(spec);
    let drives = drives.iter().map(|(id, path)| ((*id).to_owned(), desk.drive().join(path)));
    let drives = Drives::new(drives.collect::<Vec<_>>()).unwrap().with_protection(protection(&desk.drive()));
    let answer_after = desk.files.answer_after;
    desk.files = Files::new(drives).approved(Consent::Asked);
    desk.files.answer_after = answer_after;
    desk
}

fn home(spec: &str) -> Desk {
    desk_with(spec, &[("d", "")])
}

/// The errors of the calls that take one path.
fn asked_otherwise(desk: &Desk, path: &str) -> Vec<FilesError> {
    let id = format!("/d/{path}");
    let mut answers = Vec::new();
    desk.runtime.block_on(async {
        answers.push(desk.files.outgoing(&id).await.map(drop));
        answers.push(desk.files.open_folder(&id).await.map(drop));
        for policy in ["", "RENAME", "REJECT", "REPLACE", "MERGE_RENAME"] {
            answers.push(desk.files.can_come(&id, policy).await);
            answers.push(desk.files.incoming(&id, policy).await.map(drop));
        }
    });
    answers.into_iter().map(|answer| answer.unwrap_err().trouble).collect()
}

/// Expects every request on the path to fail with `want`, and changes nothing.
fn check_refused(desk: &Desk, path: &str, want: &FilesError) {
    let before = desk.tree();
    for request in everything(path) {
        // Only the trash can be emptied.
        if matches!(request, FilesRequest::EmptyTrash(_)) {
            continue;
        }
        let context = format!("{request:?}");
        let trouble = desk.ask(request).expect_err(&context);
        assert_eq!(
            (&trouble, trouble.error_code().number(), trouble.error_code().code()),
            (want, 403, "PROTECTED"),
            "{context}"
        );
        assert_eq!(desk.tree(), before, "{context}");
    }
    for trouble in asked_otherwise(desk, path) {
        assert_eq!(trouble, *want, "{path}");
    }
    assert_eq!(desk.tree(), before, "{path}");
}

fn names(desk: &Desk, path: &str) -> Vec<String> {
    let page = desk.ask(FilesRequest::Browse(browse(path))).unwrap();
    let id = |item: &Value| item["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(id).collect()
}

#[test]
fn v65_s02_no_call_reaches_a_protected_folder() {
    let desk = home(HOME);
    for path in [
        ".config/countersign",
        ".config/countersign/authorized_keys",
        ".config/countersign/instance_key",
        ".config/countersign/new",
        ".config/countersign/new/deeper",
        ".local/state/countersign",
        ".local/state/countersign/unfinished/note",
    ] {
        check_refused(&desk, path, &OWN);
    }
    for path in [".ssh", ".ssh/authorized_keys", ".ssh/keys", ".ssh/keys/id", ".ssh/new", ".ssh/keys/new/deeper"] {
        check_refused(&desk, path, &SSH);
    }
}

#[test]
fn v65_s02_a_protected_folder_that_is_not_there_is_not_made() {
    let desk = home("mine=1 f/x=1 .config/other/a=1");
    for path in [".ssh", ".ssh/authorized_keys", ".ssh/a/b"] {
        for request in [folder(path, ""), folder(path, "REPLACE"), copy("f", path, ""), move_("f", path, "REPLACE")] {
            assert_eq!(desk.ask(request.clone()), Err(SSH), "{request:?}");
        }
    }
    for path in [".config/countersign", ".config/countersign/authorized_keys"] {
        assert_eq!(desk.ask(folder(path, "")), Err(OWN));
    }
    for path in [".local", ".local/state", ".local/state/countersign"] {
        assert_eq!(desk.ask(move_("f", path, "")).map(drop).unwrap_err().error_code().number() / 100, 4, "{path}");
    }
    assert_eq!(desk.tree(), entries("mine=1 f/x=1 .config/other/a=1"));
    // On a file system that ignores case or invisible characters, these would be `.ssh`.
    for path in [".SSH", ".ſſh", ".s\u{200d}sh"] {
        assert_eq!(desk.ask(folder(path, "")), Err(SSH), "{path}");
    }
}

#[test]
fn v65_s02_nothing_above_a_protected_folder_is_moved_copied_replaced_or_removed() {
    for above in [".config", ".local", ".local/state"] {
        let desk = home(HOME);
        let before = desk.tree();
        let changes = |policy: &str| {
            let new = "f/new";
            [move_(above, new, policy), copy(above, new, policy), move_("f", above, policy), copy("f", above, policy)]
        };
        let changes = ["", "RENAME", "REJECT", "REPLACE", "MERGE_RENAME"].iter().flat_map(|policy| changes(policy));
        for request in changes.chain([trash(above), folder(above, "REPLACE"), folder(above, "RENAME")]) {
            assert_eq!(desk.ask(request.clone()), Err(FilesError::HoldsProtected), "{request:?}");
            assert_eq!(desk.tree(), before, "{request:?}");
        }
        let come_in = desk.runtime.block_on(desk.files.incoming(&format!("/d/{above}"), "REPLACE"));
        assert_eq!(come_in.map(drop).unwrap_err().trouble, FilesError::HoldsProtected);
    }
}

/// Unprotected paths work as before.
#[test]
fn v65_s02_what_lies_beside_a_protected_folder_can_be_used() {
    let desk = home(HOME);
    assert_eq!(names(&desk, ""), [".bashrc", ".config", ".local", "f", "mine"]);
    assert_eq!(names(&desk, ".config"), ["other"]);
    assert_eq!(names(&desk, ".local/state"), [""; 0]);
    desk.ask(retrieve(".config")).unwrap();
    desk.ask(folder(".config/new/deeper", "REJECT")).unwrap();
    desk.ask(move_(".config/other", ".config/new/deeper/other", "REJECT")).unwrap();
    desk.ask(copy("f", ".local/state/f", "REJECT")).unwrap();
    desk.ask(trash(".local/share")).unwrap();
    desk.ask(empty_trash("Trash")).unwrap();
    assert_eq!(names(&desk, ".config/new/deeper"), ["other"]);
    assert_eq!(std::fs::read(desk.drive().join(".ssh/keys/id")).unwrap(), b"private");
    // Where the site allows it, `~/.ssh` is a folder like any other. The rest stays protected.
    let mut desk = desk;
    let drives = Drives::new([("d".to_owned(), desk.drive())]).unwrap();
    let drives = drives.with_protection(Protection::of(&desk.drive(), SshDirectory::InDrives));
    desk.files = Files::new(drives).approved(Consent::Asked);
    assert_eq!(names(&desk, ".ssh"), ["authorized_keys", "keys"]);
    check_refused(&desk, ".config/countersign/authorized_keys", &OWN);
}

#[test]
fn v65_s02_no_link_leads_to_a_protected_folder() {
    let links =
        "l->.ssh m->f/../.ssh/keys n->.config/countersign o->.local p->.ssh/authorized_keys q->.ssh/keys/id q2->q";
    let desk = home(&format!("{HOME} {links}"));
    for path in ["l/authorized_keys", "l/new", "m/id", "m/new/deeper", "o/state/countersign/unfinished/note"] {
        let want = if path.starts_with('o') { OWN } else { SSH };
        check_refused(&desk, path, &want);
    }
    check_refused(&desk, "n/authorized_keys", &OWN);
    for path in ["l", "m", "n", "p", "q", "q2"] {
        let want = if path == "n" { OWN } else { SSH };
        assert_eq!(desk.ask(retrieve(path)), Err(want.clone()), "{path}");
        let id = format!("/d/{path}");
        let (read, work) = desk.runtime.block_on(async {
            (desk.files.outgoing(&id).await.map(drop), desk.files.open_folder(&id).await.map(drop))
        });
        assert_eq!(read.unwrap_err().trouble, want, "{path}");
        assert!(matches!(work.unwrap_err().trouble, FilesError::Protected(_) | FilesError::NotAFolder), "{path}");
    }
    // The folders above it by another name: existing ones cannot be moved.
    assert_eq!(desk.ask(move_("o/state", "f/state", "")), Err(FilesError::HoldsProtected));
    // A link itself may be removed.
    desk.ask(trash("l")).unwrap();
}

/// `~/.ssh` kept elsewhere, as with dotfiles. Neither the folder, nor a link on the way, nor any
/// folder above them can be exchanged.
#[test]
fn v65_s02_what_stands_behind_links_of_the_users_own_is_protected_where_it_is() {
    let spec =
        "mine=1 f/x=1 .ssh->way/ssh way/ssh->../dotfiles/deep/ssh dotfiles/deep/ssh/authorized_keys=keys dotfiles/rc=1";
    let desk = home(spec);
    for path in ["dotfiles/deep/ssh", "dotfiles/deep/ssh/authorized_keys", "dotfiles/deep/ssh/new", ".ssh/new"] {
        check_refused(&desk, path, &SSH);
    }
    for path in [".ssh", "way/ssh", "way", "dotfiles", "dotfiles/deep"] {
        for request in
            [move_(path, "f/new", ""), trash(path), move_("f", path, "REPLACE"), copy("mine", path, "REPLACE")]
        {
            let got = desk.ask(request.clone()).unwrap_err();
            assert!(matches!(got, FilesError::HoldsProtected | FilesError::Protected(_)), "{request:?}: {got:?}");
        }
    }
    assert_eq!(desk.tree(), entries(spec));
    assert_eq!(names(&desk, "dotfiles/deep"), [""; 0]);
    desk.ask(move_("dotfiles/rc", "dotfiles/rc2", "REJECT")).unwrap();
    // A link whose target is missing: no call creates the target.
    let desk = home("f/x=1 .ssh->dotfiles/ssh dotfiles/");
    assert_eq!(desk.ask(move_("f", "dotfiles/ssh", "")), Err(SSH));
    assert_eq!(desk.ask(folder("dotfiles/ssh/new", "")), Err(SSH));
}

#[test]
fn v65_s02_no_hard_link_leads_to_a_protected_file() {
    let desk = home(HOME);
    for (file, link) in [(".config/countersign/instance_key", "k"), (".ssh/keys/id", "f/id")] {
        std::fs::hard_link(desk.drive().join(file), desk.drive().join(link)).unwrap();
    }
    assert_eq!((desk.ask(retrieve("k")), desk.ask(copy("k", "f/k", ""))), (Err(OWN), Err(OWN)));
    assert_eq!((desk.ask(retrieve("f/id")), desk.ask(copy("f", "g", ""))), (Err(SSH), Err(SSH)));
    let read = desk.runtime.block_on(desk.files.outgoing("/d/k"));
    assert_eq!(read.map(drop).unwrap_err().trouble, OWN);
    assert_eq!(names(&desk, "f"), ["x"]);
    let written = desk.runtime.block_on(desk.files.incoming("/d/k", "REPLACE"));
    assert_eq!(written.map(drop).unwrap_err().trouble, OWN);
}

/// A drive that holds the home, drives inside, and a drive that is protected itself.
#[test]
fn v65_s02_no_other_drive_leads_there() {
    let desk =
        desk_with(HOME, &[("d", ".."), ("config", ".config"), ("ssh", ".ssh"), ("keys", ".ssh/keys"), ("whole", "/")]);
    check_refused(&desk, "drive/.ssh/authorized_keys", &SSH);
    check_refused(&desk, "drive/.config/countersign/authorized_keys", &OWN);
    for (old, new) in [("drive", "outside/x"), ("outside/folder", "drive"), ("drive/.config", "outside/x")] {
        for policy in ["RENAME", "REPLACE", "MERGE_RENAME"] {
            assert_eq!(desk.ask(move_(old, new, policy)), Err(FilesError::HoldsProtected), "{old} to {new}");
            assert_eq!(desk.ask(copy(old, new, policy)), Err(FilesError::HoldsProtected), "{old} to {new}");
        }
    }
    assert_eq!(desk.ask(trash("drive")), Err(FilesError::HoldsProtected));
    let of = |id: String| desk.ask(FilesRequest::Retrieve(Retrieve { id }));
    assert_eq!((of("/ssh".into()), of("/ssh/authorized_keys".into())), (Err(SSH), Err(SSH)));
    assert_eq!((of("/keys/id".into()), of("/config/countersign".into())), (Err(SSH), Err(OWN)));
    assert!(of("/config/other/a".into()).is_ok());
    // The whole file system is a drive: all folders above the home are fixed, too.
    let within = desk.drive().strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    assert_eq!(of(format!("/whole/{within}/.ssh/authorized_keys")), Err(SSH));
    for above in desk.drive().ancestors().filter(|above| above.parent().is_some()) {
        let item = Trash { id: format!("/whole{}", above.display()) };
        assert_eq!(desk.ask(FilesRequest::Trash(vec![item])), Err(FilesError::HoldsProtected), "{}", above.display());
    }
    desk.assert_outside_untouched();
}

/// A merge into a folder above is checked item by item.
#[test]
fn v65_s02_nothing_is_merged_into_a_protected_folder() {
    let spec = format!(
        "{HOME} new/countersign/authorized_keys=theirs x/.config/countersign/authorized_keys=theirs x/.ssh/a=1"
    );
    let desk = desk_with(&spec, &[("d", "..")]);
    let before = desk.tree();
    for (old, new) in [("drive/new", "drive/.config"), ("drive/x", "drive"), ("drive/x/.ssh", "drive/.ssh")] {
        for request in [move_(old, new, "MERGE_RENAME"), copy(old, new, "MERGE_RENAME")] {
            let got = desk.ask(request.clone()).unwrap_err();
            assert!(matches!(got, FilesError::HoldsProtected | FilesError::IntoItself | SSH), "{request:?}: {got:?}");
        }
    }
    assert_eq!(desk.tree(), before);
}

/// An upload goes to an open folder. If that folder becomes a protected one meanwhile, the file
/// does not get its name.
#[test]
fn v65_s02_a_folder_that_becomes_protected_while_a_file_comes_in() {
    let desk = home("sub/x=1");
    let drives = Drives::new([("d".to_owned(), desk.drive())]).unwrap().with_protection(protection(&desk.drive()));
    let place = drives.open(&drives.parse("/d/sub/authorized_keys").unwrap()).unwrap();
    let mut incoming = Incoming::begin(&place, ConflictPolicy::Replace).unwrap();
    incoming.write_at(0, b"theirs").unwrap();
    std::fs::rename(desk.drive().join("sub"), desk.drive().join(".ssh")).unwrap();
    assert_eq!(incoming.commit(None).map(drop), Err(SSH));
    assert_eq!(desk.tree(), entries(".ssh/x=1"));
    // The files of an uploaded folder are checked one by one.
    let place = drives.open(&drives.parse("/d/.ssh/new").unwrap()).unwrap();
    assert_eq!(Incoming::begin_in_new_folders(&place, ConflictPolicy::Rename).map(drop), Err(SSH));
}

/// Mounted elsewhere it is still the same folder, and so are a file and a folder inside it.
#[test]
#[ignore = "mounts file systems: run it in a mount namespace"]
fn v65_s02_mounts_lead_to_no_protected_folder() {
    let desk = home(&format!("{HOME} m/ n/ o/ p/ k= q/q/"));
    let at = |path: &str| desk.drive().join(path).to_str().unwrap().to_owned();
    let mounts =
        [(".ssh", "m"), (".config", "n"), (".ssh/keys", "o"), (".ssh/keys/id", "k"), (".", "p"), (".local", "q/q")];
    for (from, to) in mounts {
        super::mounts::mount(Path::new(&at(to)), &["--bind", &at(from)]);
    }
    for path in ["m/authorized_keys", "m/new", "o/id", "o/new/deeper", "p/.ssh/authorized_keys"] {
        check_refused(&desk, path, &SSH);
    }
    for path in ["n/countersign", "n/countersign/authorized_keys", "q/q/state/countersign/new"] {
        check_refused(&desk, path, &OWN);
    }
    let read =
        |path: &str| desk.runtime.block_on(desk.files.outgoing(&format!("/d/{path}"))).map(drop).unwrap_err().trouble;
    assert_eq!((read("k"), desk.ask(retrieve("k")), desk.ask(retrieve("m"))), (SSH, Err(SSH), Err(SSH)));
    assert_eq!((names(&desk, "n"), names(&desk, "q/q/state")), (vec!["other".to_owned()], vec![]));
    assert!(names(&desk, "").iter().all(|name| !["m", "o", "k"].contains(&name.as_str())));
    let before = desk.tree();
    for above in ["n", "p", "q/q"] {
        for request in [trash(above), move_(above, "f/new", ""), copy(above, "f/new", "")] {
            assert_eq!(desk.ask(request.clone()), Err(FilesError::HoldsProtected), "{request:?}");
        }
    }
    assert_eq!(desk.ask(copy("q", "f/new", "")), Err(FilesError::HoldsProtected));
    assert_eq!(desk.tree(), before);
    for (_, to) in mounts.iter().rev() {
        super::mounts::unmount_at(Path::new(&at(to)));
    }
}

/// An attacker swaps a folder for a link to a protected one, over and over.
#[test]
fn v65_s02_races() {
    const ROUNDS: usize = 200;
    let spec =
        "mine/x=own door/authorized_keys=own door/keys/id=own link->.ssh .ssh/authorized_keys=safe .ssh/keys/id=safe";
    let desk = home(spec);
    let (stop, before) = (Arc::new(AtomicBool::new(false)), tree(&desk.drive().join(".ssh"), &desk.outside()));
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (door, link) = (desk.drive().join("door"), desk.drive().join("link"));
            while !stop.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &door, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        for round in 0..ROUNDS {
            let requests = [
                copy("mine/x", "door/authorized_keys", "REPLACE"),
                copy("mine/x", &format!("door/new{round}"), "RENAME"),
                copy("mine", "door/keys", "MERGE_RENAME"),
                copy("door/authorized_keys", &format!("got{round}"), "RENAME"),
                folder(&format!("door/new{round}/deeper"), "RENAME"),
                FilesRequest::Browse(browse("door")),
                retrieve("door/authorized_keys"),
            ];
            for request in requests {
                match desk.ask(request.clone()) {
                    Ok(_) => done += 1,
                    Err(SSH) => refused += 1,
                    Err(trouble) => assert_eq!(trouble.error_code().number() / 100, 4, "{request:?}: {trouble:?}"),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done > ROUNDS && refused > ROUNDS, "{done} done, {refused} refused: both must happen");
    assert_eq!(tree(&desk.drive().join(".ssh"), &desk.outside()), before);
    let leaked: Vec<_> =
        desk.tree().into_iter().filter(|line| line.contains("safe") && !line.starts_with(".ssh")).collect();
    assert_eq!(leaked, Vec::<String>::new());
}
