//! Tests of creating folders and moving, with every policy and every kind of existing entry.

use std::sync::Arc;

use super::*;
use crate::files::error::ItemAt;
use crate::files::leftovers::Unfinished;
use crate::files::path::{Name, PathError};
use crate::files::protected::Protection;
use crate::files::rename::rename_over;
use crate::files::resolve::Root;
use countersign_ipc::error_code::ErrorCode;

#[test]
fn create_folder() {
    check("", folder("n", "RENAME"), Ok("n/"));
    check("", folder("n", "REJECT"), Ok("n/"));
    check("", folder("n", "REPLACE"), Ok("n/"));
    check("", folder("n", "MERGE_RENAME"), Ok("n/"));
    check("", folder("n", ""), Ok("n/"));
    check("", folder("n/", ""), Ok("n/"));
    check("", folder("a/b/c", "REJECT"), Ok("a/b/c/"));
    check("a/", folder("a/b/c", "REJECT"), Ok("a/b/c/"));
    check("a/ l->a", folder("l/b/c", ""), Ok("a/b/c/ l->a"));

    check("n/x=1", folder("n", "RENAME"), Ok("n/x=1 n(1)/"));
    check("n/x=1", folder("n", ""), Ok("n/x=1 n(1)/"));
    check("n/ n(1)/ n(3)/", folder("n", "RENAME"), Ok("n/ n(1)/ n(2)/ n(3)/"));
    check("n/x=1", folder("n", "REJECT"), Err(FilesError::Exists));
    check("n/x=1", folder("n", "REPLACE"), Ok("n/x=1"));
    check("n/x=1", folder("n", "MERGE_RENAME"), Ok("n/x=1"));

    check("n=1", folder("n", "RENAME"), Ok("n=1 n(1)/"));
    check("n=1", folder("n", "REJECT"), Err(FilesError::Exists));
    check("n=1", folder("n", "REPLACE"), Err(FilesError::FolderNotReplaced));
    check("n=1", folder("n", "MERGE_RENAME"), Ok("n=1 n(1)/"));
    check("n->OUT", folder("n", "REPLACE"), Err(FilesError::FolderNotReplaced));
    check("n->OUT", folder("n", "MERGE_RENAME"), Ok("n->OUT n(1)/"));
    check("n->gone", folder("n", "REJECT"), Err(FilesError::Exists));

    check("f=1", folder("f/n", ""), Err(FilesError::NotAFolder));
    check("l->gone", folder("l/n", ""), Err(FilesError::NotFound));
    check("", folder("", ""), Err(FilesError::WholeDrive));
    check("", folder("n", "rename"), Err(FilesError::Policy));
    let deep = format!("a/b/{}/c", "x".repeat(256));
    check("", folder(&deep, ""), Err(PathError::NameTooLong.into()));
    check("a/l->OUT", folder("a/l/b/c", ""), Err(FilesError::Outside));
}

#[test]
fn move_to_a_free_name() {
    for policy in ["", "RENAME", "REJECT", "REPLACE", "MERGE_RENAME"] {
        check("a=1", move_("a", "b", policy), Ok("b=1"));
        check("a=1 f/", move_("a", "f/b", policy), Ok("f/b=1"));
        check("a/x=1 a/y/", move_("a", "b", policy), Ok("b/x=1 b/y/"));
        check("a->OUT/secret", move_("a", "b", policy), Ok("b->OUT/secret"));
        check("a->gone", move_("a", "b", policy), Ok("b->gone"));
        check("a|", move_("a", "b", policy), Ok("b|"));
        check("f/ l->f a=1", move_("a", "l/b", policy), Ok("f/b=1 l->f"));
        check("", move_("a", "b", policy), Err(FilesError::NotFound));
        check("a=1", move_("a", "f/b", policy), Err(FilesError::NotFound));
        check("a=1 f=2", move_("a", "f/b", policy), Err(FilesError::NotAFolder));
        check("a=1", move_("", "b", policy), Err(FilesError::WholeDrive));
        check("a=1", move_("a", "", policy), Err(FilesError::WholeDrive));
    }
}

#[test]
fn move_to_a_taken_name() {
    check("a=1 b=2", move_("a", "b", "RENAME"), Ok("b=2 b(1)=1"));
    check("a=1 b=2", move_("a", "b", ""), Ok("b=2 b(1)=1"));
    check("a=1 b.c=2 b(1).c=3", move_("a", "b.c", "RENAME"), Ok("b.c=2 b(1).c=3 b(2).c=1"));
    check("a/x=1 b/y=2", move_("a", "b", "RENAME"), Ok("b/y=2 b(1)/x=1"));
    check("a=1 b->gone", move_("a", "b", "RENAME"), Ok("b->gone b(1)=1"));

    check("a=1 b=2", move_("a", "b", "REJECT"), Err(FilesError::Exists));
    check("a=1 b/", move_("a", "b", "REJECT"), Err(FilesError::Exists));
    check("a/ b/", move_("a", "b", "REJECT"), Err(FilesError::Exists));
    check("a=1 b->gone", move_("a", "b", "REJECT"), Err(FilesError::Exists));

    check("a=1 b=2", move_("a", "b", "REPLACE"), Ok("b=1"));
    check("a=1 b->OUT", move_("a", "b", "REPLACE"), Ok("b=1"));

    check("a=1 b=2", move_("a", "b", "MERGE_RENAME"), Ok("b=2 b(1)=1"));
    check("a/x=1 b=2", move_("a", "b", "MERGE_RENAME"), Ok("b=2 b(1)/x=1"));
    check("a=1 b/x=2", move_("a", "b", "MERGE_RENAME"), Ok("b/x=2 b(1)=1"));
    check("a/x=1 b/y=2", move_("a", "b", "MERGE_RENAME"), Ok("b/x=1 b/y=2"));
    check(
        "a/x=1 a/d/p=2 a/d/q=3 b/x=4 b/d/p=5",
        move_("a", "b", "MERGE_RENAME"),
        Ok("b/x=4 b/x(1)=1 b/d/p=5 b/d/p(1)=2 b/d/q=3"),
    );
    // A link to a folder is a link, and nothing is merged through it.
    check("a/x=1 b->OUT", move_("a", "b", "MERGE_RENAME"), Ok("b->OUT b(1)/x=1"));
    check("a/d/x=1 b/d->OUT", move_("a", "b", "MERGE_RENAME"), Ok("b/d->OUT b/d(1)/x=1"));
    check("a/d->OUT b/d/x=1", move_("a", "b", "MERGE_RENAME"), Ok("b/d(1)->OUT b/d/x=1"));
}

/// `REPLACE` destroys one file at most. A folder's content is only removed by way of the trash,
/// which a site may restrict further.
#[test]
fn s13_a_folder_is_not_replaced_and_replaces_nothing() {
    for (before, from) in [
        ("a=1 b/x/y=2", "a"),
        ("a=1 b/", "a"),
        ("a->OUT b/x=1", "a"),
        ("a=1 b/l->OUT b/m->../../outside", "a"),
        ("a/x=1 b=2", "a"),
        ("a/x=1 b->OUT", "a"),
        ("a/x=1 b/y/z=2 b/w=3", "a"),
        ("a/ b/", "a"),
        ("f/a=1 b/x=2", "f/a"),
        ("a| b/x=2", "a"),
    ] {
        check(before, move_(from, "b", "REPLACE"), Err(FilesError::FolderNotReplaced));
        check(before, copy(from, "b", "REPLACE"), Err(FilesError::FolderNotReplaced));
    }
    // The kernel does not replace a folder that takes the place at the last moment either.
    let desk = Desk::new("a=1 b/x=2");
    let root = Root::at(&desk.drive(), Arc::new(Protection::default()), Arc::new(Unfinished::unnoted())).unwrap();
    let slot = |name: &str| root.slot(&[Name::parse(name).unwrap()]).unwrap();
    assert_eq!(rename_over(&slot("a"), &slot("b")), Err(FilesError::Exists));
    assert_eq!(desk.tree(), entries("a=1 b/x=2"));
}

#[test]
fn move_onto_or_into_itself() {
    for policy in ["RENAME", "REPLACE", "MERGE_RENAME"] {
        check("a=1", move_("a", "a", policy), Ok("a=1"));
        check("a/x=1", move_("a", "a", policy), Ok("a/x=1"));
        check("f/a=1 l->f", move_("l/a", "f/a", policy), Ok("f/a=1 l->f"));
        check("a/b/c=1", move_("a", "a/b/d", policy), Err(FilesError::IntoItself));
        check("a/b/c=1 l->a/b", move_("a", "l/d", policy), Err(FilesError::IntoItself));
    }
    check("a=1", move_("a", "a", "REJECT"), Err(FilesError::Exists));
    check("a/b=1 a/c=2", move_("a/b", "a", "REPLACE"), Err(FilesError::IntoItself));
    check("a/b/x=1 a/c=2", move_("a/b", "a", "REPLACE"), Err(FilesError::IntoItself));
    check("a/b/b/x=1", move_("a/b", "a", "MERGE_RENAME"), Err(FilesError::IntoItself));
    check("a/b=1 a/c=2", move_("a/b", "a", "RENAME"), Ok("a/c=2 a(1)=1"));
}

#[test]
fn two_links_to_one_file_are_two_files() {
    let cases = [("RENAME", "b=1 b(1)=1"), ("REPLACE", "b=1"), ("MERGE_RENAME", "b=1 b(1)=1")];
    for (policy, after) in cases {
        let desk = Desk::new("a=1");
        std::fs::hard_link(desk.drive().join("a"), desk.drive().join("b")).unwrap();
        desk.ask(move_("a", "b", policy)).unwrap();
        assert_eq!(desk.tree(), entries(after), "{policy}");
    }
}

#[test]
fn two_drives() {
    let desk = Desk::new("a=1 x/a=2 y/");
    let drives = ["x", "y"].map(|name| (name.to_owned(), desk.drive().join(name)));
    let files = Files::new(Drives::new(drives).unwrap());
    let between = |old_id: &str, new_id: &str| MoveOrCopy {
        old_id: old_id.to_owned(),
        new_id: new_id.to_owned(),
        conflict_policy: "REJECT".to_owned(),
    };
    let ask = |request| desk.runtime.block_on(files.perform(request)).map_err(|error| error.trouble);
    ask(FilesRequest::Copy(vec![between("/x/a", "/y/b")])).unwrap();
    ask(FilesRequest::Move(vec![between("/x/a", "/y/c")])).unwrap();
    assert_eq!(desk.tree(), entries("a=1 x/ y/b=2 y/c=2"));
}

#[test]
fn bulk_requests_are_done_in_order_up_to_the_first_that_fails() {
    let desk = Desk::new("a=1 b=2 c=3");
    let items = |policies: [&str; 3]| {
        let names = ["a", "b", "c"].iter().zip(policies);
        names.map(|(name, policy)| transfer(name, &format!("{name}{name}"), policy)).collect()
    };

    // An item that cannot be parsed stops all of them.
    let error = desk.perform(FilesRequest::Move(items(["", "", "?"]))).unwrap_err();
    assert_eq!(error.at, Some(ItemAt { item: 2, of: 3, done: 0 }));
    assert_eq!((error.trouble.clone(), error.error_code()), (FilesError::Policy, ErrorCode::Malformed));
    assert_eq!(error.to_string(), "/d/c → /d/cc: there is no such conflict policy (item 3 of 3; 0 of them were done)");
    assert_eq!(desk.tree(), entries("a=1 b=2 c=3"));

    std::fs::write(desk.drive().join("bb"), "4").unwrap();
    let error = desk.perform(FilesRequest::Move(items(["REJECT"; 3]))).unwrap_err();
    assert_eq!(error.at, Some(ItemAt { item: 1, of: 3, done: 1 }));
    assert_eq!((error.trouble.clone(), error.error_code().number()), (FilesError::Exists, 409));
    assert_eq!(desk.tree(), entries("aa=1 b=2 bb=4 c=3"));

    let three = FilesRequest::CreateFolder(
        ["x", "x/y", "z"].map(|id| CreateFolder { id: format!("/d/{id}"), conflict_policy: String::new() }).to_vec(),
    );
    assert_eq!(desk.ask(three), Ok(serde_json::json!({"responses": [{}, {}, {}]})));
    assert_eq!(desk.ask(FilesRequest::Trash(vec![])), Ok(serde_json::json!({"responses": []})));
    let many = vec![Trash { id: "/d/aa".to_owned() }; 1001];
    assert_eq!(desk.ask(FilesRequest::Trash(many)), Err(FilesError::TooManyItems { most: 1000 }));
}

/// The kernel lets no account make folders in `/sys`, root included.
#[test]
fn what_the_system_denies() {
    let desk = Desk::new("");
    let files = Files::new(Drives::new([("d".to_owned(), PathBuf::from("/sys"))]).unwrap());
    let error = desk.runtime.block_on(files.perform(folder("n", ""))).unwrap_err();
    assert_eq!((error.trouble.clone(), error.error_code().number()), (FilesError::Denied, 403));
}

/// File systems without `RENAME_NOREPLACE`, like NFS.
#[test]
fn renaming_where_the_kernel_cannot() {
    use nix::errno::Errno;

    use crate::files::rename::claim_and_rename;
    use crate::files::resolve::{EntryRef, Mounts};

    fn root(desk: &Desk) -> Root {
        Root::at(&desk.drive(), Arc::new(Protection::default()), Arc::new(Unfinished::unnoted())).unwrap()
    }

    fn with(
        before: &str,
        step: impl Fn(&EntryRef, &EntryRef) -> Result<(), FilesError>,
        want: Result<&str, FilesError>,
    ) {
        let desk = Desk::new(before);
        let root = root(&desk);
        let slot = |name: &str| root.slot(&[Name::parse(name).unwrap()]).unwrap();
        let after = want.clone().unwrap_or(before);
        assert_eq!(step(&slot("a"), &slot("b")), want.map(drop), "{before:?}");
        assert_eq!(desk.tree(), entries(after), "{before:?}");
        desk.assert_outside_untouched();
    }
    let claim = |from: &EntryRef, to: &EntryRef| claim_and_rename(from, to).map_err(FilesError::from);
    with("a=1", claim, Ok("b=1"));
    with("a/x=1", claim, Ok("b/x=1"));
    with("a->OUT", claim, Ok("b->OUT"));
    with("a=1 b=2", claim, Err(FilesError::Exists));
    with("a/x=1 b/", claim, Err(FilesError::Exists));
    with("a=1 b->gone", claim, Err(FilesError::Exists));
    with("b=1", claim, Err(FilesError::NotFound));
    // A claim is given up if the move fails.
    let into_itself = |from: &EntryRef, _: &EntryRef| {
        let inner = from.open_folder(Mounts::Stay, FilesError::walking).unwrap();
        let to = from.within(&inner, Name::parse("b").unwrap()).unwrap();
        claim(from, &to)
    };
    with("a/x=1", into_itself, Err(FilesError::Failed(Errno::EINVAL)));
}

/// Changes that permissions refuse. As root this test does nothing, because permissions do not bind
/// root.
#[test]
fn what_permissions_deny() {
    use std::os::unix::fs::PermissionsExt;
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let check = |closed: &str, mode: u32, request: FilesRequest| {
        let before = "a/x=1 a/f/y=2 b=3";
        let desk = Desk::new(before);
        let path = desk.drive().join(closed);
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(mode);
        let got = desk.ask(request.clone());
        set(0o755);
        assert_eq!(got, Err(FilesError::Denied), "{request:?}");
        assert_eq!(desk.tree(), entries(before), "{request:?}");
    };
    check("a", 0o555, folder("a/n", ""));
    check("a", 0o555, move_("a/x", "x", "REPLACE"));
    check("a", 0o555, move_("b", "a/x", "REPLACE"));
    check("a", 0o555, move_("a/f", "f", ""));
    check("a/f", 0o555, move_("a/f", "f", ""));
    check("a", 0o555, copy("b", "a/x", "REPLACE"));
    check("a", 0o555, copy("b", "a/b", ""));
    check("a/x", 0o000, copy("a", "c", ""));
    check("a/x", 0o000, copy("a/x", "b", "REPLACE"));
    check("a/f", 0o000, copy("a", "c", ""));
    check("a/f", 0o000, FilesRequest::Browse(browse("a/f")));
    check("a/f", 0o600, retrieve("a/f/y"));
    check("", 0o555, trash("b"));
}
