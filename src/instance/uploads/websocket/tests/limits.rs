//! Tests of the limits, and of a full disk.

use super::*;

#[tokio::test]
async fn limits() {
    let mut desk = Desk::new(&[]);
    let many: Vec<(i32, &str, usize)> = (0..100_001).map(|id| (id, "x", 1)).collect();
    let mut client = desk.folder("/d", Rename).await;
    client.say(listing(&many)).await;
    assert_eq!(client.closed().await, (CloseCode::Size, "too many files were listed at once".to_owned()));
    let long = "x".repeat(10_000);
    let long: Vec<(i32, &str, usize)> = (0..1000).map(|id| (id, long.as_str(), 1)).collect();
    let mut client = desk.folder("/d", Rename).await;
    client.say(listing(&long)).await;
    assert_eq!(client.closed().await.0, CloseCode::Size);

    // A client that sends nothing still has only as many files open as allowed.
    let mut client = desk.folder("/d", Rename).await;
    client.say(listing(&many[..1000])).await;
    assert_eq!(client.hear().await.len(), 64);
    assert_eq!(std::fs::read_dir(desk.drive()).unwrap().count(), 64 + 1);
    client.close().await;

    let brief = Duration::from_millis(20);
    desk.uploads.times = Times { done: brief, silent: PATIENCE };
    let mut client = desk.folder("/d", Rename).await;
    assert_eq!(client.closed().await, (CloseCode::Normal, "nothing has come for long".to_owned()));
    desk.uploads.times = Times { done: PATIENCE, silent: brief };
    let mut client = desk.folder("/d", Rename).await;
    client.say(listing(&many[..1])).await;
    assert_eq!(client.closed().await.1, "nothing has come for long");
    client.served.await.unwrap();
    desk.assert_files(&[]);
}

/// An upload makes progress whatever others hold open, and the total stays within its limit.
#[tokio::test]
async fn uploads_share_what_may_be_open() {
    let desk = Desk::new(&[]);
    let names: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let mut clients = Vec::new();
    for number in 0..UPLOADS_MAX as i32 {
        let mut client = desk.folder(&format!("/d/{number}"), Rename).await;
        let files: Vec<(i32, &str, usize)> = (0..100).map(|id| (id, names[id as usize].as_str(), 1)).collect();
        client.say(listing(&files)).await;
        let open = client.hear().await.len();
        assert_eq!(open, [64, 64, 24, 8, 8, 8, 8, 8][number as usize], "{number}");
        clients.push(client);
    }
    let mut one_more = desk.folder("/d", Rename).await;
    assert_eq!(one_more.closed().await.1, "too many of your uploads are under way already");
    let mut last = clients.pop().unwrap();
    for id in 0..8 {
        last.say(chunk(id, b"x")).await;
    }
    last.serve(100, |_| b"x".to_vec()).await;
    last.close().await;
    assert_eq!(std::fs::read_dir(desk.drive().join("7")).unwrap().count(), 100);
}

/// `unshare --user --map-root-user --mount cargo test -p countersign mounts -- --ignored`
#[tokio::test]
#[ignore = "mounts file systems: run it in a mount namespace"]
async fn mounts_that_are_full() {
    let whole = TempDir::new().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1M,nr_inodes=50", "none"])
        .arg(whole.path())
        .status();
    assert!(mount.unwrap().success());
    let desk = Desk::in_folder(whole, &[("a", "old")]);
    let mut client = desk.folder("/d", Replace).await;
    client.say(listing(&[(1, "a", 2_000_000), (2, "b", 10)])).await;
    assert_eq!(client.hear().await, [Heard::Ok(1), Heard::Ok(2)]);
    client.say(chunk(2, b"0123456789")).await;
    client.say(chunk(1, &[7; 1_500_000])).await;
    let (code, reason) = client.closed().await;
    assert_eq!((code, reason.as_str()), (CloseCode::Error, "there is not enough space: a"));
    client.served.await.unwrap();
    assert_eq!(desk.files()["a"], "old");
}
