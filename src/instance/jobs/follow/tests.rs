//! A job's output, as its files grow.

use super::*;
use crate::drives::table::Drives;

fn files(home: &tempfile::TempDir) -> Files {
    Files::new(Drives::new([("home".to_owned(), home.path().to_owned())]).unwrap())
}

fn tail() -> Tail {
    let path = "/home/stdout.txt".to_owned();
    Tail { rank: 0, channel: Channel::Stdout, path, open: None, is_mid: false, decoder: Decoder::default() }
}

async fn rest(tail: &mut Tail, files: &Files) -> String {
    let mut all = String::new();
    while let Some(text) = tail.next(files).await {
        all.push_str(&text);
    }
    all
}

fn add(home: &tempfile::TempDir, bytes: &[u8]) {
    use std::io::Write as _;
    let path = home.path().join("stdout.txt");
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_character_that_two_writes_cut_arrives_whole() {
    let home = tempfile::tempdir().unwrap();
    let (files, mut tail) = (files(&home), tail());
    assert_eq!(rest(&mut tail, &files).await, "", "it does not exist yet");
    add(&home, "first æ".as_bytes());
    assert_eq!(rest(&mut tail, &files).await, "first æ");
    add(&home, &"ø".as_bytes()[..1]);
    assert_eq!(rest(&mut tail, &files).await, "");
    add(&home, &"ø".as_bytes()[1..]);
    add(&home, b"\xff!");
    assert_eq!(rest(&mut tail, &files).await, "ø\u{fffd}!");
    add(&home, &"€".as_bytes()[..2]);
    assert_eq!(rest(&mut tail, &files).await, "");
    assert_eq!(tail.decoder.finish(), "\u{fffd}");
}

#[tokio::test]
async fn a_long_file_is_followed_from_shortly_before_its_end() {
    let home = tempfile::tempdir().unwrap();
    let (files, mut tail) = (files(&home), tail());
    let length = usize::try_from(BEFORE_MAX).unwrap();
    add(&home, "€".repeat(length / 3 + 10).as_bytes());
    add(&home, b"the end\n");
    let text = rest(&mut tail, &files).await;
    assert!(text.len() <= length && text.len() > length - 4, "{}", text.len());
    assert!(text.starts_with('€') && text.ends_with("€the end\n"), "no half character");
}

#[tokio::test]
async fn what_is_no_file_is_not_read() {
    let home = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let (files, mut tail) = (files(&home), tail());
    std::os::unix::fs::symlink(outside.path().join("secret"), home.path().join("stdout.txt")).unwrap();
    assert_eq!(rest(&mut tail, &files).await, "", "a link out of the drive");
    std::fs::remove_file(home.path().join("stdout.txt")).unwrap();
    nix::unistd::mkfifo(&home.path().join("stdout.txt"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(rest(&mut tail, &files).await, "", "a pipe");
}
