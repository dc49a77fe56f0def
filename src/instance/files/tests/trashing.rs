//! Tests of moving to the trash and of emptying it.

use super::*;

#[test]
fn into_the_trash() {
    check("a=1", trash("a"), Ok("Trash/a=1"));
    check("f/a=1 b=2", trash("f/a"), Ok("Trash/a=1 f/ b=2"));
    check("f/a=1", trash("f"), Ok("Trash/f/a=1"));
    check("a=1 Trash/a=2", trash("a"), Ok("Trash/a=2 Trash/a(1)=1"));
    check("a.c=1 Trash/a.c=2 Trash/a(1).c=3", trash("a.c"), Ok("Trash/a.c=2 Trash/a(1).c=3 Trash/a(2).c=1"));
    check("a->OUT/secret", trash("a"), Ok("Trash/a->OUT/secret"));
    check("a->gone", trash("a"), Ok("Trash/a->gone"));
    check("a|", trash("a"), Ok("Trash/a|"));
    check("f/Trash/a=1", trash("f/Trash"), Ok("f/ Trash/Trash/a=1"));
    check("f/Trash/a=1", trash("f/Trash/a"), Ok("f/Trash/ Trash/a=1"));

    check("b=1", trash("a"), Err(FilesError::NotFound));
    check("b=1", trash("f/a"), Err(FilesError::NotFound));
    check("a=1", trash(""), Err(FilesError::WholeDrive));
    check("Trash/a=1", trash("Trash"), Err(FilesError::InTrash));
    check("Trash/a=1", trash("Trash/a"), Err(FilesError::InTrash));
    check("a=1 Trash->OUT/folder", trash("a"), Err(FilesError::Outside));
    check("a=1 f/ Trash->f", trash("a"), Err(FilesError::Outside));
    check("a=1 Trash=2", trash("a"), Err(FilesError::NotAFolder));
    check("l->OUT", trash("l/secret"), Err(FilesError::Outside));
}

#[test]
fn s12_the_trash_is_the_users_alone_but_in_a_folder_that_others_can_write() {
    use std::os::unix::fs::PermissionsExt;
    let check = |drive: u32, want: u32| {
        let desk = Desk::new("a=1");
        std::fs::set_permissions(desk.drive(), std::fs::Permissions::from_mode(drive)).unwrap();
        desk.ask(trash("a")).unwrap();
        let mode = std::fs::metadata(desk.drive().join("Trash")).unwrap().permissions().mode();
        assert_eq!(format!("{:o}", mode & 0o7777), format!("{want:o}"), "{drive:o}");
    };
    check(0o700, 0o700);
    check(0o755, 0o700);
    check(0o2770, 0o2770);
    check(0o1777, 0o1777);
}

#[test]
fn a_name_of_255_bytes_is_trashed_twice() {
    let name = "x".repeat(255);
    let desk = Desk::new(&format!("{name}=1 Trash/{name}=2"));
    desk.ask(trash(&name)).unwrap();
    let cut = "x".repeat(252);
    assert_eq!(desk.tree(), entries(&format!("Trash/{name}=2 Trash/{cut}(1)=1")));
}

#[test]
fn emptying() {
    check("Trash/a=1 Trash/b/c=2 b=3", empty_trash("Trash"), Ok("Trash/ b=3"));
    check("Trash/", empty_trash("Trash"), Ok("Trash/"));
    check("Trash/l->OUT Trash/m->../../outside Trash/n->gone", empty_trash("Trash"), Ok("Trash/"));
    check("Trash/f/l->OUT Trash/f/m->../../../outside", empty_trash("Trash"), Ok("Trash/"));
    check("Trash/l->../keep keep/a=1", empty_trash("Trash"), Ok("Trash/ keep/a=1"));
    check("Trash/p| Trash/.h=1", empty_trash("Trash"), Ok("Trash/"));

    check("a=1", empty_trash("Trash"), Err(FilesError::NotFound));
    check("Trash=1", empty_trash("Trash"), Err(FilesError::NotAFolder));
    check("Trash->OUT/folder", empty_trash("Trash"), Err(FilesError::Outside));
    check("f/x=1 Trash->f", empty_trash("Trash"), Err(FilesError::Outside));
    check("a=1 Trash/b=2", empty_trash(""), Err(FilesError::NotTrash));
    check("Trash/f/a=1", empty_trash("Trash/f"), Err(FilesError::NotTrash));
    check("f/Trash/a=1", empty_trash("f/Trash"), Err(FilesError::NotTrash));
    check("f/a=1", empty_trash("f"), Err(FilesError::NotTrash));
    check("trash/a=1", empty_trash("trash"), Err(FilesError::NotTrash));
}

#[test]
fn folders_that_cannot_be_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new("Trash/f/g/a=1");
    for folder in ["Trash/f/g", "Trash/f"] {
        let path = desk.drive().join(folder);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    desk.ask(empty_trash("Trash")).unwrap();
    assert_eq!(desk.tree(), entries("Trash/"));
}

#[test]
fn folders_far_deeper_than_a_process_has_descriptors() {
    use std::os::fd::OwnedFd;
    // In memory: on a disk, making that many folders takes seconds.
    let desk = Desk::in_folder(in_memory(), "Trash/");
    let mut folder: OwnedFd = std::fs::File::open(desk.drive().join("Trash")).unwrap().into();
    for _ in 0..25_000 {
        nix::sys::stat::mkdirat(&folder, "f", Mode::S_IRWXU).unwrap();
        let flags = nix::fcntl::OFlag::O_DIRECTORY;
        folder = nix::fcntl::openat(&folder, "f", flags, Mode::empty()).unwrap();
    }
    desk.ask(empty_trash("Trash")).unwrap();
    assert_eq!(desk.tree(), entries("Trash/"));
}

#[test]
fn more_files_than_are_held_at_once() {
    let desk = Desk::in_folder(in_memory(), "Trash/f/");
    for number in 0..10_000 {
        std::fs::write(desk.drive().join(format!("Trash/f/{number}")), "").unwrap();
    }
    desk.ask(empty_trash("Trash")).unwrap();
    assert_eq!(desk.tree(), entries("Trash/"));
}
