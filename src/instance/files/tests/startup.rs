//! Tests of startup places on real file systems: a change without consent reaches none.

use super::*;

/// A drive that is the folder `where_` of the home directory, which contains these files.
fn at_home(where_: &str, spec: &str) -> (TempDir, Files, tokio::runtime::Runtime) {
    let whole = TempDir::new().unwrap();
    let (home, outside) = (whole.path().join("home"), whole.path().join("outside"));
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir(&outside).unwrap();
    build(&home, spec, &outside);
    std::fs::create_dir_all(home.join(where_)).unwrap();
    let drives = Drives::new([("d".to_owned(), home.join(where_))]).unwrap().with_home(&home);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    (whole, Files::new(drives), runtime)
}

/// Without consent the change is refused and nothing changes. With consent it succeeds.
fn check(where_: &str, spec: &str, request: FilesRequest, is_asked_for: bool) {
    let (whole, files, runtime) = at_home(where_, spec);
    let tree_of = |whole: &TempDir| tree(&whole.path().join("home"), &whole.path().join("outside"));
    let before = tree_of(&whole);
    let context = format!("{request:?} on {where_:?} of {spec:?}");
    let unasked = runtime.block_on(files.perform(request.clone())).map(drop).map_err(|error| error.trouble);
    if !is_asked_for {
        assert_eq!(unasked, Ok(()), "{context}");
        return;
    }
    assert_eq!(unasked, Err(FilesError::NotAsked), "{context}");
    assert_eq!(tree_of(&whole), before, "{context}");
    let asked = runtime.block_on(files.approved(Consent::Asked).perform(request)).map(drop);
    assert_eq!(asked.map_err(|error| error.trouble), Ok(()), "{context}, asked");
}

#[test]
fn v66_s02_an_unasked_change_reaches_no_startup_place_by_its_name() {
    check(".", "", folder("a", "RENAME"), false);
    check(".", "", folder(".ssh", "RENAME"), true);
    check(".", "", folder(".config/autostart/x", "RENAME"), true);
    check(".", "", folder("bin", "RENAME"), true);
    check(".", ".bashrc=x", move_(".bashrc", "old", "RENAME"), true);
    check(".", "new=x", move_("new", ".bashrc", "RENAME"), true);
    check(".", "new=x", copy("new", ".bashrc", "RENAME"), true);
    check(".", ".bashrc=x", copy(".bashrc", "seen", "RENAME"), false);
    check(".", "new=x", move_("new", "old", "RENAME"), false);
}

#[test]
fn v66_s02_an_unasked_change_reaches_no_startup_place_by_a_link() {
    check(".", ".ssh/ l->.ssh", folder("l/x", "RENAME"), true);
    check(".", ".ssh/ l->.ssh", folder("l", "RENAME"), false); // next to the link, which no call follows
    check(".", ".config/systemd/user/ a/l->../.config/systemd", folder("a/l/user/x", "RENAME"), true);
    check(".", "bin/ scripts->bin new=x", move_("new", "scripts/ls", "RENAME"), true);
    check(".", "bin/ls=x scripts->bin", move_("scripts/ls", "away", "RENAME"), true);
    check(".", "bin/ scripts->bin new=x", copy("new", "scripts/ls", "RENAME"), true);
    check(".", "data/ l->data new=x", move_("new", "l/x", "RENAME"), false);
}

#[test]
fn v66_s02_a_link_that_the_same_request_puts_in_the_way_is_found() {
    let (whole, files, runtime) = at_home(".", "bin/ l->bin new=x");
    let request = FilesRequest::Move(vec![transfer("l", "m", "REJECT"), transfer("new", "m/ls", "REJECT")]);
    let outcome = runtime.block_on(files.perform(request)).map_err(|error| error.trouble);
    assert_eq!(outcome.map(drop), Err(FilesError::NotAsked));
    assert!(!whole.path().join("home/bin/ls").exists());
}

#[test]
fn v66_s02_a_drive_that_lies_in_a_startup_place_is_one() {
    check("data", "", folder("a", "RENAME"), false);
    check(".config/autostart", "", folder("a", "RENAME"), true);
    check("bin", "bin/a=x", move_("a", "b", "RENAME"), true);
    check("project/bin", "", folder("a", "RENAME"), true);
}

#[test]
fn v66_s02_what_lies_above_a_drive_outside_the_home_directory_is_the_sites_choice() {
    let whole = TempDir::new().unwrap();
    let drive = whole.path().join(".pool/bin/group");
    std::fs::create_dir_all(&drive).unwrap();
    std::fs::create_dir(whole.path().join("home")).unwrap();
    let drives = Drives::new([("d".to_owned(), drive)]).unwrap().with_home(&whole.path().join("home"));
    assert!(!drives.is_startup("d"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let ask = |path| {
        runtime.block_on(Files::new(drives.clone()).perform(folder(path, "RENAME"))).map_err(|error| error.trouble)
    };
    assert!(ask("a").is_ok());
    assert_eq!(ask("bin"), Err(FilesError::NotAsked));
}

#[test]
fn v66_s02_nothing_unasked_is_merged_into_a_home_directory_that_a_drive_holds() {
    let whole = TempDir::new().unwrap();
    for folder in ["work/alice", "work/stage"] {
        std::fs::create_dir_all(whole.path().join(folder)).unwrap();
    }
    std::fs::write(whole.path().join("work/stage/.bashrc"), "x").unwrap();
    let drives = Drives::new([("d".to_owned(), whole.path().join("work"))]).unwrap();
    let drives = drives.with_home(&whole.path().join("work/alice"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let outcome = runtime.block_on(Files::new(drives).perform(move_("stage", "alice", "MERGE_RENAME")));
    assert_eq!(outcome.map(drop).map_err(|error| error.trouble), Err(FilesError::NotAsked));
    assert!(!whole.path().join("work/alice/.bashrc").exists());
}

#[test]
fn v66_s02_an_upload_begins_at_no_startup_place_unasked() {
    let (_whole, files, runtime) = at_home(".", "bin/ scripts->bin");
    for (path, want) in [
        ("a", Ok(())),
        (".bashrc", Err(FilesError::NotAsked)),
        ("bin/ls", Err(FilesError::NotAsked)),
        ("scripts/ls", Err(FilesError::NotAsked)),
        ("x.desktop", Err(FilesError::NotAsked)),
    ] {
        let id = format!("/d/{path}");
        let granted = runtime.block_on(files.can_come(&id, "RENAME")).map_err(|error| error.trouble);
        assert_eq!(granted, want, "{path}");
        let begun = runtime.block_on(files.incoming(&id, "RENAME")).map(drop).map_err(|error| error.trouble);
        assert_eq!(begun, want, "{path}");
        assert!(runtime.block_on(files.approved(Consent::Asked).incoming(&id, "RENAME")).is_ok(), "{path}");
    }
}
