//! Folder names for titles, the signed parts of a drive, and empty folders. The rest needs a
//! server: `tests/drives.rs`.
use countersign_keys::call::CallTable;
use countersign_keys::identity::ProviderId;
use http_body_util::Full;
use hyper::Response;
use tokio::net::UnixListener;

use super::*;
use countersign_config::DriveRoot;
use countersign_ipc::http::{Limits, serve_connection};

#[test]
fn a_title_makes_a_folders_name() {
    let check = |title: &str, try_: u32, want: &str| {
        assert_eq!(name_for(title, try_), PlainName::parse(want), "{title:?}");
        assert!(PlainName::parse(want).is_some());
    };
    check("Photos", 1, "Photos");
    check("Photos", 2, "Photos-2");
    check("  My data, part 2 ", 1, "My-data-part-2");
    check("../../etc", 1, "etc");
    check("..", 1, "drive");
    check("/", 3, "drive-3");
    check(".hidden", 1, "hidden");
    check("æøå 1.0_x", 1, "1.0_x");
    check("\u{202e}abc\n", 1, "abc");
    check(&"x".repeat(500), 1, &"x".repeat(40));
}

#[test]
fn what_is_made_is_what_was_signed() {
    let table = CallTable::new(&ProviderId::parse("hpc").unwrap(), &[]).unwrap();
    let row = table.row("files.collections.create").unwrap();
    let ask = |body: &str| new_drives(&Items::read(row, body.as_bytes()).unwrap(), "own");
    let good = r#"{"items":[{"id":"4713","owner":{"createdBy":"a","project":null},"specification":{"title":"T","product":{"id":"own","category":"own","provider":"hpc"},"labels":null}}]}"#;
    let made = ask(good).unwrap();
    assert_eq!((made.len(), made[0].title.as_str(), made[0].number.as_str()), (1, "T", "4713"));
    let refused = |from: &str, to: &str| ask(&good.replacen(from, to, 1)).unwrap_err();
    assert!(matches!(refused(r#""T""#, r#"" ""#), DriveError::NoTitle));
    assert!(matches!(refused(r#""id":"own""#, r#""id":"disk""#), DriveError::Product(_)));
    assert!(matches!(refused(r#""project":null"#, r#""project":"p1""#), DriveError::OfProject));
    for number in [r#""""#, r#""0""#, r#""x""#, r#""home""#, "4713", "null"] {
        assert!(matches!(refused(r#""4713""#, number), DriveError::NoNumber), "{number}");
    }
}

#[test]
fn a_drive_is_made_once_and_removed_only_when_nothing_is_in_it() {
    let whole = tempfile::tempdir().unwrap();
    let drives = Drives::new(Vec::<(String, PathBuf)>::new()).unwrap();
    let parent = whole.path().join("a/Drives");
    let folder = parent.join("photos");
    assert!(make_folder(&drives, &parent, &folder).unwrap());
    assert!(!make_folder(&drives, &parent, &folder).unwrap(), "it is there");
    std::fs::create_dir_all(folder.join("Trash/x")).unwrap();
    assert!(matches!(check_empty(&drives, &folder), Err(DriveError::NotEmpty)));
    assert!(matches!(remove_folder(&folder), Err(DriveError::NotEmpty)));
    assert!(folder.join("Trash/x").exists(), "nothing is lost");
    std::fs::remove_dir(folder.join("Trash/x")).unwrap();
    check_empty(&drives, &folder).unwrap();
    std::fs::write(folder.join("file"), b"").unwrap();
    assert!(matches!(check_empty(&drives, &folder), Err(DriveError::NotEmpty)));
    std::fs::remove_file(folder.join("file")).unwrap();
    remove_folder(&folder).unwrap();
    assert!(!folder.exists());
    check_empty(&drives, &folder).unwrap();
    remove_folder(&folder).unwrap();
    std::fs::write(&folder, b"").unwrap();
    assert!(matches!(make_folder(&drives, &folder, &folder.join("x")), Err(DriveError::Files(_))));
}

/// A site that creates drives where protected folders are: no drive can be one of those folders.
#[test]
fn v65_s02_no_drive_that_is_made_is_a_protected_folder() {
    use crate::files::protected::{Protection, Whose};
    use countersign_config::SshDirectory;

    let home = tempfile::tempdir().unwrap();
    let protection = Protection::of(home.path(), SshDirectory::Protected);
    let drives = Drives::new(Vec::<(String, PathBuf)>::new()).unwrap().with_protection(protection);
    std::fs::create_dir_all(home.path().join(".config/countersign")).unwrap();
    let of = |outcome: Result<bool, DriveError>| {
        let Err(DriveError::Files(trouble)) = outcome else { panic!("{outcome:?}") };
        trouble
    };
    let own = home.path().join(".config");
    let made = make_folder(&drives, &own, &own.join("countersign"));
    assert_eq!(of(made), FilesError::Protected(Whose::Countersign));
    let removed = check_empty(&drives, &own.join("countersign")).map(|()| false);
    assert_eq!(of(removed), FilesError::Protected(Whose::Countersign));
    let above = make_folder(&drives, home.path(), &own);
    assert_eq!(of(above), FilesError::HoldsProtected);
    let within = own.join("countersign");
    assert_eq!(of(make_folder(&drives, &within, &within.join("x"))), FilesError::Protected(Whose::Countersign));
    assert!(make_folder(&drives, &own, &own.join("photos")).unwrap());
}

/// A user who creates many drives in a row can exceed the server's rate limit for an account.
#[tokio::test]
async fn c19_a_server_that_is_asked_too_much_is_not_said_to_be_silent() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("ucloud.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let refuse = |_request| async {
            let mut reply = Response::new(Full::new(bytes::Bytes::from_static(b"{}")));
            *reply.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            reply
        };
        let _ = serve_connection(stream, refuse, &Limits::LOCAL).await;
    });
    let files = Files::new(Drives::new(Vec::<(String, PathBuf)>::new()).unwrap());
    let root = DriveRoot::Home("Drives/{name}".into());
    let drive = Drive { id: "own-{name}".to_owned(), root, title: "{name}".to_owned(), product: None };
    let maker = DriveMaker { files, socket, product: "own".to_owned(), drive };
    let (alice, number) = (Username::parse("alice#1234").unwrap(), CoreDriveId::parse("13").unwrap());
    let refused = maker.note(&alice, &number, "own-One").await.unwrap_err();
    assert_eq!((refused.error_code().number(), refused.error_code().code()), (429, "TOO_MANY"));
}
