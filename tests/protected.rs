//! Tests of UCloud's page with a signer that signs any request: no such signature installs a key
//! (P2, P3, V65).
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::stream::{granted, open};
use crate::support::test_site::{PROVIDER, Person, TestSite};
use countersign_portal::Deed;
use countersign_portal::core::Brings;
use tokio_tungstenite::tungstenite::Message;

const POLICIES: [&str; 4] = ["RENAME", "REJECT", "REPLACE", "MERGE_RENAME"];

/// All files below a folder, with their contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(contents(&entry.path())),
            kind if kind.is_symlink() => {}
            // The journal grows with each request.
            _ if entry.path().to_str().unwrap().contains(".local/state") => {}
            _ => {
                files.insert(entry.path(), fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

async fn check_refused(centre: &TestSite, person: &Person, deeds: impl IntoIterator<Item = Deed>) {
    let before = contents(&person.home);
    for deed in deeds {
        let answer = centre.perform(person, &deed).await;
        let verdict = (answer.status, answer.error_code());
        assert_eq!(verdict, (403, "PROTECTED".to_owned()), "{deed:?}: {answer:?}\n{}", centre.last_words());
        assert_eq!(contents(&person.home), before, "{deed:?}");
    }
}

fn pair(old: &str, new: &str) -> Vec<(String, String)> {
    vec![(format!("/home/{old}"), format!("/home/{new}"))]
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v65_s02_what_ucloud_s_page_has_signed_installs_no_key() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    centre.write(&alice, "evil", b"ssh-ed25519 AAAA theirs\n");
    let pins = ".config/countersign/authorized_keys";
    let path = |below: &str| format!("/home/{below}");

    // There is no ~/.ssh yet, and no call creates one.
    let uploads = |at: &'static str, brings| {
        POLICIES.iter().map(move |policy| Deed::Upload(format!("/home/{at}"), brings, (*policy).to_owned()))
    };
    check_refused(&centre, &alice, uploads(".ssh/authorized_keys", Brings::File)).await;
    check_refused(&centre, &alice, uploads(".ssh", Brings::Folder)).await;
    check_refused(&centre, &alice, [".ssh", ".ssh/x", ".ssh/x/y"].map(|at| Deed::CreateFolder(vec![path(at)]))).await;
    check_refused(&centre, &alice, [Deed::Copy(pair("evil", ".ssh")), Deed::Move(pair("evil", ".ssh"))]).await;
    check_refused(&centre, &alice, [Deed::Move(pair("evil", ".ssh/authorized_keys"))]).await;

    // ~/.ssh exists, and so do the pinned keys.
    assert!(
        centre.shell_as("alice", "mkdir -m 700 ~/.ssh && echo mine > ~/.ssh/authorized_keys").await.status.success()
    );
    let (instance_key, numbers) = (".config/countersign/instance_key.hpc", ".local/state/countersign/hpc/drives");
    for at in [".ssh/authorized_keys", pins, instance_key, numbers] {
        let deeds = [
            Deed::Download(path(at)),
            Deed::Retrieve(path(at)),
            Deed::Trash(vec![path(at)]),
            Deed::Move(pair(at, "taken")),
            Deed::Copy(pair(at, "taken")),
            Deed::Move(pair("evil", at)),
            Deed::Copy(pair("evil", at)),
        ];
        check_refused(&centre, &alice, deeds).await;
    }
    check_refused(&centre, &alice, uploads(".config/countersign/authorized_keys", Brings::File)).await;
    for at in [".ssh", ".config/countersign", ".local/state/countersign"] {
        check_refused(&centre, &alice, [Deed::Browse(path(at)), Deed::Terminal(path(at))]).await;
    }

    // Nor can a folder above them be moved away and replaced.
    for at in [".config", ".local", ".local/state", ".config/countersign", ".ssh"] {
        let deeds = [
            Deed::Move(pair(at, "away")),
            Deed::Copy(pair(at, "away")),
            Deed::Trash(vec![path(at)]),
            Deed::Move(pair("evil", at)),
        ];
        check_refused(&centre, &alice, deeds).await;
    }
    // All items of a request but one may be honest.
    let mut items = pair("evil", "good");
    items.extend(pair(pins, "taken"));
    let answer = centre.perform(&alice, &Deed::Move(items)).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "PROTECTED"), "{answer:?}");
    assert!(answer.json()["why"].as_str().unwrap().contains("belongs to Countersign"), "{answer:?}");

    // Unprotected files are unchanged.
    let names = |answer: &countersign_portal::Answer| -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let home = names(&centre.browse(&alice, "/home").await);
    assert!(home.contains(&path(".config")) && !home.contains(&path(".ssh")), "{home:?}");
    assert_eq!(names(&centre.browse(&alice, &path(".config")).await), [""; 0]);
    assert!(centre.perform(&alice, &Deed::CreateFolder(vec![path(".config/app")])).await.is_ok());
}

/// No signature covers the paths of a folder's files: the instance checks each.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn v65_s02_no_file_of_a_folder_that_is_sent_is_a_key() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let script =
        "mkdir -m 700 .ssh; mkdir sub; ln -s ../.ssh sub/ssh; ln -s ../.config sub/config; ln -s ssh sub/twice";
    assert!(centre.shell_as("alice", &format!("cd ~; {script}")).await.status.success());
    for name in ["ssh/authorized_keys", "twice/new", "config/countersign/authorized_keys", "config/countersign/a/b"] {
        let before = contents(&alice.home);
        let deed = Deed::Upload("/home/sub".to_owned(), Brings::Folder, "REPLACE".to_owned());
        let (token, proof) = granted(&centre, &alice, &deed).await;
        let target = format!("/ucloud/{PROVIDER}/upload?token={token}&intent={proof}");
        let mut browser = open(&centre, &target, &[]).await.unwrap();
        let mut listing = vec![4];
        listing.extend(1_i32.to_be_bytes());
        listing.extend(6_i64.to_be_bytes());
        listing.extend(1_700_000_000_000_i64.to_be_bytes());
        listing.extend((name.len() as u32).to_be_bytes());
        listing.extend(name.as_bytes());
        browser.say(Message::binary(listing)).await;
        assert_eq!(browser.hear().await, None, "{name}: the socket is closed, and no file is let in");
        assert_eq!(contents(&alice.home), before, "{name}");
    }
}
