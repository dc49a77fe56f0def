//! Tests of pages, orders, filters, and every name that Linux allows.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

fn page(desk: &Desk, browse: Browse) -> Value {
    desk.ask(FilesRequest::Browse(browse)).unwrap()
}

fn names(page: &Value) -> Vec<String> {
    let ids = page["items"].as_array().unwrap().iter();
    ids.map(|item| item["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

/// All pages in turn; `between` changes the folder after each.
fn walk(desk: &Desk, browse: &Browse, mut between: impl FnMut()) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let page = page(desk, Browse { next: next.clone(), ..browse.clone() });
        found.extend(names(&page));
        between();
        match page["next"].as_str() {
            Some(text) => next = Some(text.to_owned()),
            None => return found,
        }
    }
}

#[test]
fn json_of_a_page() {
    let desk = Desk::new("dir/Trash/ dir/a.txt=hello");
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    for name in ["dir/Trash", "dir/a.txt"] {
        let times = std::fs::FileTimes::new().set_modified(time).set_accessed(time);
        let path = desk.drive().join(name);
        std::fs::File::open(&path).unwrap().set_times(times).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    let (owner, group) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let item = |id: &str, kind: &str, icon: &str, size: u64| {
        format!(
            concat!(
                r#"{{"id":"{id}","createdAt":1700000000123,"legacySensitivity":"","#,
                r#""status":{{"type":"{kind}","icon":"{icon}","#,
                r#""sizeInBytes":{size},"sizeIncludingChildrenInBytes":null,"#,
                r#""fileCount":null,"directoryCount":null,"#,
                r#""modifiedAt":1700000000123,"accessedAt":1700000000123,"#,
                r#""unixMode":488,"unixOwner":{owner},"unixGroup":{group},"#,
                r#""metadata":{{"metadata":{{}}}}}}}}"#
            ),
            id = id,
            kind = kind,
            icon = icon,
            size = size,
            owner = owner,
            group = group
        )
    };
    let folder_size = std::fs::metadata(desk.drive().join("dir/Trash")).unwrap().len();
    let (text, bin) =
        (item("/d/dir/a.txt", "FILE", "", 5), item("/d/dir/Trash", "DIRECTORY", "DIRECTORY_TRASH", folder_size));
    let answer = desk.perform(FilesRequest::Browse(browse("dir"))).unwrap();
    let got = serde_json::to_string(&answer).unwrap();
    assert_eq!(got, format!(r#"{{"items":[{text},{bin}],"itemsPerPage":50,"next":null}}"#));
    let answer = desk.perform(retrieve("dir/a.txt")).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    let answer = desk.perform(retrieve("dir/a.txt/")).unwrap();
    assert_eq!(serde_json::to_string(&answer).unwrap(), text);
}

#[test]
fn what_is_retrieved() {
    let desk = Desk::new("a=1 f/x=22 l->f m->a n->f/x p|");
    let check = |path: &str, kind: &str| {
        let file = desk.ask(retrieve(path)).unwrap();
        assert_eq!(file["status"]["type"], kind, "{path}");
        assert_eq!(file["id"], format!("/d/{path}").trim_end_matches('/'), "{path}");
    };
    check("", "DIRECTORY");
    check("a", "FILE");
    check("f", "DIRECTORY");
    check("l", "DIRECTORY");
    check("l/x", "FILE");
    check("m", "FILE");
    check("p", "FILE");
    assert_eq!(desk.ask(retrieve("n")).unwrap()["status"]["sizeInBytes"], 2);
    assert_eq!(desk.ask(retrieve("b")), Err(FilesError::NotFound));
    assert_eq!(desk.ask(retrieve("a/b")), Err(FilesError::NotAFolder));
    assert_eq!(desk.ask(retrieve("f/b")).unwrap_err().error_code().number(), 404);
}

#[test]
fn orders() {
    let desk = Desk::new("b=1 A=333 c=22 Æ= d/ é=1 ");
    for (age, name) in ["A", "d", "Æ", "b", "é", "c"].iter().enumerate() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age as u64);
        std::fs::File::open(desk.drive().join(name)).unwrap().set_modified(time).unwrap();
    }
    let check = |by: &str, direction: &str, want: &str| {
        let all = Browse { sort_by: by.to_owned(), sort_direction: direction.to_owned(), ..browse("") };
        assert_eq!(names(&page(&desk, all.clone())).concat(), want, "{by} {direction}");
        let ones = Browse { items_per_page: 1, ..all };
        assert_eq!(walk(&desk, &ones, || ()).concat(), want, "{by} {direction}, one at a time");
    };
    check("", "", "AbcdÆé");
    check("PATH", "ascending", "AbcdÆé");
    check("PATH", "descending", "éÆdcbA");
    check("MODIFIED_AT", "ascending", "cébÆdA");
    check("MODIFIED_AT", "descending", "AdÆbéc");
    // A folder's own size depends on the file system: more than three bytes, or none.
    let size = std::fs::metadata(desk.drive().join("d")).unwrap().len();
    assert!(size > 3, "{size}");
    check("SIZE", "ascending", "ÆbécAd");
    check("SIZE", "descending", "dAcébÆ");
    for (by, direction) in [("path", ""), ("", "ASCENDING"), ("CREATED_AT", "")] {
        let odd = Browse { sort_by: by.to_owned(), sort_direction: direction.to_owned(), ..browse("") };
        assert_eq!(desk.ask(FilesRequest::Browse(odd)), Err(FilesError::Sort));
    }
}

#[test]
fn page_sizes() {
    let desk = Desk::new("");
    for number in 0..1100 {
        std::fs::write(desk.drive().join(format!("{number:04}")), "").unwrap();
    }
    let check = |asked: i64, want: usize| {
        let page = page(&desk, Browse { items_per_page: asked, ..browse("") });
        assert_eq!(page["itemsPerPage"], want, "{asked}");
        assert_eq!(names(&page).len(), want, "{asked}");
        assert!(page["next"].is_string());
    };
    check(0, 50);
    check(-1, 50);
    check(i64::MIN, 50);
    check(1, 1);
    check(1000, 1000);
    check(1001, 1000);
    check(i64::MAX, 1000);
    let all: Vec<String> = (0..1100).map(|number| format!("{number:04}")).collect();
    for size in [7, 50, 1000] {
        assert_eq!(walk(&desk, &Browse { items_per_page: size, ..browse("") }, || ()), all);
    }
    // A page that ends with the folder has no next page.
    std::fs::create_dir(desk.drive().join("few")).unwrap();
    for number in 0..3 {
        std::fs::write(desk.drive().join(format!("few/{number}")), "").unwrap();
    }
    assert_eq!(page(&desk, Browse { items_per_page: 3, ..browse("few") })["next"], Value::Null);
    assert_eq!(page(&desk, browse("few"))["next"], Value::Null);
}

/// Files that come and go between pages neither repeat nor hide those that stay.
#[test]
fn folders_that_change_between_pages() {
    for (by, direction) in [("PATH", "ascending"), ("PATH", "descending"), ("SIZE", "ascending")] {
        let desk = Desk::new("");
        for number in 0..100 {
            std::fs::write(desk.drive().join(format!("stays{number:02}")), vec![0; number]).unwrap();
            std::fs::write(desk.drive().join(format!("goes{number:02}")), vec![0; number]).unwrap();
        }
        let mut round = 0;
        let order =
            Browse { items_per_page: 7, sort_by: by.to_owned(), sort_direction: direction.to_owned(), ..browse("") };
        let found = walk(&desk, &order, || {
            for number in (round..100).step_by(10) {
                let _ = std::fs::remove_file(desk.drive().join(format!("goes{number:02}")));
            }
            for name in ["a", "m", "tz"] {
                std::fs::write(desk.drive().join(format!("{name}{round}")), "").unwrap();
            }
            round += 1;
        });
        let mut stayed: Vec<_> = found.iter().filter(|name| name.starts_with("stays")).collect();
        stayed.sort();
        let all: Vec<String> = (0..100).map(|number| format!("stays{number:02}")).collect();
        assert_eq!(stayed, all.iter().collect::<Vec<_>>(), "{by} {direction}");
        let distinct: BTreeSet<_> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "{by} {direction}");
    }
}

#[test]
fn cursors_that_no_page_gave() {
    let desk = Desk::new("a=1 b=2 c=3");
    let first = page(&desk, Browse { items_per_page: 1, ..browse("") });
    let next = first["next"].as_str().unwrap();
    let check = |next: &str, by: &str, want: Result<Vec<&str>, FilesError>| {
        let request = Browse { next: Some(next.to_owned()), sort_by: by.to_owned(), ..browse("") };
        let got = desk.ask(FilesRequest::Browse(request)).map(|page| names(&page));
        let want = want.map(|names| names.into_iter().map(str::to_owned).collect());
        assert_eq!(got, want, "{next}");
    };
    check(next, "PATH", Ok(vec!["b", "c"]));
    check("", "PATH", Ok(vec!["a", "b", "c"]));
    check(next, "SIZE", Err(FilesError::Cursor));
    check(&next[1..], "PATH", Err(FilesError::Cursor));
    check("e30", "PATH", Err(FilesError::Cursor));
    check("not base64!", "PATH", Err(FilesError::Cursor));
    check(&"A".repeat(5000), "PATH", Err(FilesError::Cursor));
    use base64::Engine as _;
    let forged = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    check(&forged(r#"{"o":1,"k":0,"n":"b"}"#), "PATH", Ok(vec!["c"]));
    check(&forged(r#"{"o":1,"k":0,"n":"../b"}"#), "PATH", Err(FilesError::Cursor));
    check(&forged(r#"{"o":1,"k":0,"n":"b","x":1}"#), "PATH", Err(FilesError::Cursor));
}

#[test]
fn filters() {
    let desk = Desk::new(".h=1 .g/ a.txt=1 b.TXT=1 c.tar.gz=1 d.txt/ e=1 txt=1 l.txt->d.txt");
    let check = |hidden: bool, extension: Option<&str>, want: &str| {
        let request = Browse {
            filter_hidden_files: hidden,
            filter_by_file_extension: extension.map(str::to_owned),
            ..browse("")
        };
        assert_eq!(names(&page(&desk, request)).join(" "), want, "{hidden} {extension:?}");
    };
    check(false, None, ".g .h a.txt b.TXT c.tar.gz d.txt e l.txt txt");
    check(true, None, "a.txt b.TXT c.tar.gz d.txt e l.txt txt");
    check(true, Some(""), "a.txt b.TXT c.tar.gz d.txt e l.txt txt");
    check(true, Some("txt"), "a.txt b.TXT d.txt l.txt");
    check(true, Some(".Txt"), "a.txt b.TXT d.txt l.txt");
    check(true, Some("gz"), "c.tar.gz d.txt l.txt");
    check(true, Some(".tar.gz"), "c.tar.gz d.txt l.txt");
    check(false, Some("h"), ".g .h d.txt l.txt");
}

#[test]
fn what_is_no_folder() {
    let desk = Desk::new("a=1 p| l->a g->gone");
    let check = |path: &str, want: FilesError| {
        assert_eq!(desk.ask(FilesRequest::Browse(browse(path))), Err(want), "{path}");
    };
    check("a", FilesError::NotAFolder);
    check("p", FilesError::NotAFolder);
    check("l", FilesError::NotAFolder);
    check("g", FilesError::NotFound);
    check("n", FilesError::NotFound);
}

/// Every request that changes a file finds it by the name that a browse gave.
fn survives(name: &[u8]) {
    let desk = Desk::new("");
    let drive = desk.drive();
    std::fs::write(drive.join(OsStr::from_bytes(name)), "x").unwrap();
    let page = page(&desk, browse(""));
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    let only = |folder: &str, want: &[u8]| {
        let entries = std::fs::read_dir(drive.join(folder)).unwrap();
        let found: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(found.contains(&OsStr::from_bytes(want).to_owned()), "{found:?} without {want:?}");
    };
    let file = desk.ask(FilesRequest::Retrieve(Retrieve { id: id.clone() })).unwrap();
    assert_eq!(file, page["items"][0]);
    let inner = id.strip_prefix("/d/").unwrap();
    desk.ask(folder("f", "")).unwrap();
    desk.ask(copy(inner, &format!("f/{inner}"), "REJECT")).unwrap();
    only("f", name);
    desk.ask(trash(inner)).unwrap();
    only("Trash", name);
    desk.ask(move_(&format!("f/{inner}"), inner, "REJECT")).unwrap();
    only("", name);
}

#[test]
fn names_of_every_byte() {
    for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
        survives(&[b'a', byte]);
    }
    for name in [b" ".as_slice(), b"-rf", b"\n", b"a\\b", b"\"", b"...", b"*", b"\xff\xfe", b"caf\xe9.txt", b"%2e%2e"] {
        survives(name);
    }
    survives("\u{10fe80}\u{10feff}".as_bytes());
    survives("\u{202e}txt.exe 👩‍🔬".as_bytes());
    survives(&[0xff; 255]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn names_of_any_bytes(name in proptest::collection::vec(1..=255_u8, 1..=255)) {
        let name: Vec<u8> = name.into_iter().map(|byte| if byte == b'/' { b'_' } else { byte }).collect();
        if name != b"." && name != b".." && name != b"f" && name != b"Trash" {
            survives(&name);
        }
    }
}

/// A folder that another account fills does not occupy a place in the queue for ever.
#[test]
fn a_listing_ends_in_time() {
    use crate::files::browse::Listing;
    let desk = Desk::in_folder(in_memory(), "f/");
    for number in 0..3000 {
        std::fs::write(desk.drive().join(format!("f/{number}")), "").unwrap();
    }
    let drives = Drives::new([("d".to_owned(), desk.drive())]).unwrap();
    let place = drives.open(&drives.parse("/d/f").unwrap()).unwrap();
    let listing = Listing::parse(&browse("f")).unwrap();
    let now = std::time::Instant::now();
    assert_eq!(listing.read(&place.root, &place.path, now), Err(FilesError::TooManyFiles));
    assert!(listing.read(&place.root, &place.path, now + Duration::from_secs(600)).is_ok());
}
