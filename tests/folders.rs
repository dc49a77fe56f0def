//! Tests of folder uploads over a WebSocket at a real installation. Every byte arrives as the
//! user's, interruptions leave whole files, and memory does not grow with the upload.
//!
//! Each test runs alone in `tests/support/installation.sh`: see `./test`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::stream::{Browser, granted, open};
use crate::support::test_site::{PROVIDER, Part, Person, TestSite};
use countersign_portal::Deed;
use countersign_portal::core::Brings;
use tokio_tungstenite::tungstenite::Message;

/// Files as a client lists them: id, size and path.
fn listing(files: &[(i32, i64, &str)]) -> Message {
    let mut listing = vec![4];
    for (id, size, path) in files {
        listing.extend(id.to_be_bytes());
        listing.extend(size.to_be_bytes());
        listing.extend(1_700_000_000_000_i64.to_be_bytes());
        listing.extend((path.len() as u32).to_be_bytes());
        listing.extend(path.as_bytes());
    }
    Message::binary(listing)
}

fn chunk(id: i32, bytes: &[u8]) -> Message {
    Message::binary([&[2], id.to_be_bytes().as_slice(), bytes].concat())
}

async fn uploading(centre: &TestSite, person: &Person, deed: &Deed) -> Browser {
    let (token, proof) = granted(centre, person, deed).await;
    let target = format!("/ucloud/{PROVIDER}/upload?token={token}&intent={proof}");
    open(centre, &target, &[]).await.unwrap_or_else(|status| panic!("{status}\n{}", centre.last_words()))
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn a_folder_comes_over_a_socket_as_the_user() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut browser = uploading(&centre, &alice, &deed).await;
    let content = vec![7; 3_000_000];
    browser.say(listing(&[(1, 3_000_000, "a/large"), (2, 0, "empty")])).await;
    assert_eq!(browser.hear().await.unwrap().into_data(), b"\0\0\0\0\x01\0\0\0\0\x02".as_slice());
    for piece in content.chunks(1_000_000) {
        browser.say(Message::binary([b"\x02\0\0\0\x01", piece].concat())).await;
    }
    browser.say(Message::binary(b"\x02\0\0\0\x02".to_vec())).await;
    let mut done = Vec::new();
    while !done.ends_with(b"\x05\0\0\0\x02") {
        done.extend_from_slice(&browser.hear().await.expect("the end").into_data());
    }
    browser.say(Message::binary(vec![6])).await;
    assert_eq!(browser.hear().await, None);
    let (large, empty) = (alice.home.join("folder/a/large"), alice.home.join("folder/empty"));
    assert!(fs::read(&large).unwrap() == content);
    assert_eq!(fs::read(&empty).unwrap(), b"");
    for path in [&large, &empty, &alice.home.join("folder/a")] {
        assert_eq!(fs::metadata(path).unwrap().uid(), fs::metadata(&alice.home).unwrap().uid());
    }
    assert_eq!(fs::metadata(&large).unwrap().mtime(), 1_700_000_000);
    assert_eq!(fs::read_dir(alice.home.join("folder")).unwrap().count(), 2, "nothing unfinished");
}

/// `kill -9` among 200 files that replace others. Every file is the old one or the whole new one,
/// and incomplete files are removed. The rounds are few because the server restarts an instance
/// that often fails after ever longer pauses.
#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn of_uploads_whose_instance_is_killed_every_file_is_the_old_one_or_the_new() {
    const FILES: i32 = 50;
    const ROUNDS: usize = 4;
    const PIECE: usize = 10_000;
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let folder = alice.home.join("folder");
    let names: Vec<String> = (0..FILES).map(|id| format!("f{id}")).collect();
    let content = |round: usize, id: i32| format!("{round} {id} ").repeat(5_000 + round).into_bytes();
    let is_whole = |round: usize, id: i32| fs::read(folder.join(&names[id as usize])).unwrap() == content(round, id);
    let deed = Deed::Upload("/home/folder".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut now_there = [0; FILES as usize];
    let mut renewed = 0;
    for round in 0..=ROUNDS {
        let mut browser = uploading(&centre, &alice, &deed).await;
        let files: Vec<(i32, i64, &str)> =
            (0..FILES).map(|id| (id, content(round, id).len() as i64, names[id as usize].as_str())).collect();
        browser.say(listing(&files)).await;
        browser.hear().await.unwrap();
        let all: Vec<Vec<u8>> = (0..FILES).map(|id| content(round, id)).collect();
        let pieces = (0..FILES).flat_map(|id| all[id as usize].chunks(PIECE).map(move |piece| chunk(id, piece)));
        if round == 0 {
            for piece in pieces {
                browser.say(piece).await;
            }
            browser.say(Message::binary(vec![6])).await;
            while browser.hear().await.is_some() {}
            continue;
        }
        let killing = pieces.clone().count() * round / (ROUNDS + 1);
        for piece in pieces.take(killing) {
            browser.say(piece).await;
        }
        // Half of the files have their names, and others are being placed at this moment.
        let half = i32::try_from(FILES as usize * round / (ROUNDS + 1) / 2).unwrap();
        let mut done = 0;
        while done < half {
            let heard = browser.hear().await.unwrap().into_data();
            done = i32::from_be_bytes(heard[heard.len() - 4..].try_into().unwrap());
        }
        centre.kill(Part::Instance("alice"));
        while browser.hear().await.is_some() {}
        for id in 0..FILES {
            let there = &mut now_there[id as usize];
            if is_whole(round, id) {
                *there = round;
                renewed += 1;
            }
            assert!(is_whole(*there, id), "file {id} is neither that of round {there} nor that of {round}");
        }
        centre.until("users are served", async || centre.browse(&alice, "/home").await.is_ok()).await;
    }
    assert!((40..160).contains(&renewed), "{renewed} of them were complete");
    centre.until("what was half done is gone", async || fs::read_dir(&folder).unwrap().count() == FILES as usize).await;
}

/// The peak memory of a process, in KiB.
fn peak_kib(centre: &TestSite, part: Part) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", centre.pid(part).unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
#[ignore = "needs an installation: run by ./test"]
async fn an_upload_takes_the_memory_of_one_message_however_long_it_is() {
    let centre = TestSite::open().await;
    let alice = centre.connect("alice").await;
    let deed = Deed::Upload("/home/long".to_owned(), Brings::Folder, "REPLACE".to_owned());
    let mut browser = uploading(&centre, &alice, &deed).await;
    browser.say(listing(&[(1, 200_000_000, "f")])).await;
    browser.hear().await.unwrap();
    let before = (peak_kib(&centre, Part::Instance("alice")), peak_kib(&centre, Part::Gateway));
    let piece = vec![7; 1_000_000];
    for _ in 0..200 {
        browser.say(chunk(1, &piece)).await;
    }
    assert_eq!(browser.hear().await.unwrap().into_data(), b"\x05\0\0\0\x01".as_slice());
    let after = (peak_kib(&centre, Part::Instance("alice")), peak_kib(&centre, Part::Gateway));
    assert!(after.0 - before.0 < 8 * 1024, "the instance: {before:?} {after:?}");
    assert!(after.1 - before.1 < 8 * 1024, "the gateway: {before:?} {after:?}");
    assert_eq!(fs::metadata(alice.home.join("long/f")).unwrap().len(), 200_000_000);
}
