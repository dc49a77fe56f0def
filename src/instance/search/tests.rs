//! Searches of real folders.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

struct Desk {
    whole: TempDir,
    searches: Searches,
}

impl Desk {
    fn new(files: &[&str]) -> Self {
        let whole = TempDir::new().unwrap();
        let make = |path: PathBuf| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        files.iter().for_each(|file| make(whole.path().join("d").join(file)));
        std::fs::create_dir_all(whole.path().join("d")).unwrap();
        make(whole.path().join("outside/needle"));
        make(whole.path().join("e/Needle in e"));
        let drives = ["d", "e", "gone"].map(|id| (id.to_owned(), whole.path().join(id)));
        let drives = Arc::new(Drives::new(drives).unwrap());
        Self { whole, searches: Searches::of(drives) }
    }

    fn drive(&self) -> PathBuf {
        self.whole.path().join("d")
    }

    async fn find(&self, query: &str, folder: Option<&str>) -> Result<BTreeSet<String>, FilesError> {
        let mut found = self.searches.begin(query, folder).await?;
        let mut ids = BTreeSet::new();
        while let Some(batch) = found.next().await {
            assert!(!batch.is_empty() && batch.len() <= BATCH_MAX);
            for file in batch {
                assert!(ids.insert(id(&file)), "told once");
            }
        }
        Ok(ids)
    }

    async fn check(&self, query: &str, folder: Option<&str>, want: Result<&[&str], FilesError>) {
        let want = want.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(self.find(query, folder).await, want, "{query:?} in {folder:?}");
    }
}

fn id(file: &ProviderFile) -> String {
    serde_json::to_value(file).unwrap()["id"].as_str().unwrap().to_owned()
}

fn is_idle(searches: &Searches) -> bool {
    searches.walking.available_permits() == WALKS_MAX && searches.waiting.available_permits() == SEARCHES_MAX
}

#[tokio::test]
async fn names() {
    let desk = Desk::new(&["a/Needle.txt", "a/b/c/NEEDLES/x", "needle", "haystack", "Ærø/søn", "a/.needle"]);
    let all: &[&str] = &["/d/a/.needle", "/d/a/Needle.txt", "/d/a/b/c/NEEDLES", "/d/needle"];
    desk.check("needle", Some("/d"), Ok(all)).await;
    desk.check(" nEEdle ", Some("/d/"), Ok(all)).await;
    desk.check("needle", Some("/d/a/b"), Ok(&["/d/a/b/c/NEEDLES"])).await;
    desk.check("needle", None, Ok(&[all, &["/e/Needle in e"]].concat())).await;
    desk.check("ÆR", Some("/d"), Ok(&["/d/Ærø"])).await;
    desk.check("a/n", Some("/d"), Ok(&[])).await;
    for query in ["", "  ", &"x".repeat(256)] {
        desk.check(query, None, Err(FilesError::Query)).await;
    }
    desk.check("x", Some("/d/nowhere"), Err(FilesError::NotFound)).await;
    desk.check("x", Some("/d/needle"), Err(FilesError::NotAFolder)).await;
    desk.check("x", Some("/nowhere"), Err(FilesError::NoDrive)).await;
    desk.check("x", Some("/gone"), Err(FilesError::DriveMissing)).await;
    assert!(is_idle(&desk.searches));
}

#[tokio::test]
async fn links_are_found_and_never_followed() {
    let desk = Desk::new(&["folder/needle", "x"]);
    let link = |target: &Path, name: &str| symlink(target, desk.drive().join(name)).unwrap();
    link(&desk.whole.path().join("outside"), "out");
    link(Path::new("../outside"), "out too");
    link(Path::new("folder"), "needle link");
    link(Path::new("."), "round");
    desk.check("needle", Some("/d"), Ok(&["/d/folder/needle", "/d/needle link"])).await;
    desk.check("needle", Some("/d/out"), Err(FilesError::Outside)).await;
    desk.check("needle", Some("/d/out too"), Err(FilesError::Outside)).await;
    // A result does not describe a link's target.
    let mut found = desk.searches.begin("needle link", Some("/d")).await.unwrap();
    let link = serde_json::to_value(&found.next().await.unwrap()[0]).unwrap();
    assert_eq!((&link["status"]["type"], &link["status"]["sizeInBytes"]), (&"FILE".into(), &6.into()));
    // The search follows a link within the drive if the user names it, as browsing does.
    desk.check("needle", Some("/d/needle link"), Ok(&["/d/needle link/needle"])).await;
}

#[tokio::test]
async fn limits() {
    let mut desk = Desk::new(&[]);
    let deep: PathBuf = (0..100).map(|level| format!("x{level}")).collect();
    std::fs::create_dir_all(desk.drive().join(deep)).unwrap();
    assert_eq!(desk.find("x", Some("/d")).await.unwrap().len(), DEPTH_MAX);
    desk.searches.limits.results = 10;
    assert_eq!(desk.find("x", Some("/d")).await.unwrap().len(), 10);
    desk.searches.limits.time = Duration::ZERO;
    assert_eq!(desk.find("x", Some("/d")).await.unwrap().len(), 0);
}

/// A client that takes no results pauses the walk. A client that disconnects ends it at any point.
#[tokio::test]
async fn a_search_that_nobody_waits_for_ends_at_once() {
    let desk = Desk::new(&[]);
    for number in 0..5000 {
        std::fs::write(desk.drive().join(format!("x{number}")), "").unwrap();
    }
    let mut first = desk.searches.begin("x", Some("/d")).await.unwrap();
    assert_eq!(first.next().await.unwrap().len(), BATCH_MAX);
    let _second = desk.searches.begin("x", Some("/d")).await.unwrap();
    // Both walk until their unread results fill the channel, and a third has to wait.
    let third = desk.searches.begin("x", Some("/d"));
    tokio::pin!(third);
    assert!(tokio::time::timeout(Duration::from_millis(50), third.as_mut()).await.is_err());
    assert_eq!(desk.searches.walking.available_permits(), 0);
    drop(first);
    assert_eq!(third.await.unwrap().next().await.unwrap().len(), BATCH_MAX);

    // A walk without results never notices that its channel is closed. It sees the cancellation
    // instead.
    drop(_second);
    let walk = |cancelled| {
        let (sender, _results) = mpsc::channel(1);
        let end = Instant::now() + TIME_MAX;
        let limits = Limits { results: 1, depth: 1, time: TIME_MAX };
        Walk { query: "nothing".to_owned(), sender, cancelled: Arc::new(AtomicBool::new(cancelled)), end, limits }
    };
    let start = || {
        let path = desk.searches.drives.parse("/d").unwrap();
        open_all(&desk.searches.drives, vec![path], true).unwrap().remove(0)
    };
    let (path, folder) = start();
    assert_eq!(walk(true).walk(path, folder), None);
    let (path, folder) = start();
    assert_eq!(walk(false).walk(path, folder), Some(()));
}

#[tokio::test]
async fn too_many() {
    let desk = Desk::new(&["x"]);
    let waiting = desk.searches.waiting.clone().acquire_many_owned(SEARCHES_MAX as u32).await.unwrap();
    assert_eq!(desk.find("x", None).await, Err(FilesError::Busy));
    drop(waiting);
    assert!(desk.find("x", None).await.is_ok());
}
