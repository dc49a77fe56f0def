//! Tests of uploads to real folders, with a scripted client.

mod limits;
mod startup;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::files::path::UcloudPath;
use crate::websocket::frames::reading;

const PATIENCE: Duration = Duration::from_secs(20);
/// The modification time of all files in these tests, in milliseconds since 1970.
const MODIFIED: i64 = 1_700_000_000_123;

struct Desk {
    whole: TempDir,
    uploads: Uploads,
}

struct Client {
    socket: WebSocketStream<DuplexStream>,
    served: JoinHandle<()>,
}

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Ok(i32),
    Skip(i32),
    Completed(i32),
}

impl Desk {
    /// A drive `d` with these files, and something outside.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::in_folder(TempDir::new().unwrap(), files)
    }

    fn in_folder(whole: TempDir, files: &[(&str, &str)]) -> Self {
        let drive = whole.path().join("d");
        std::fs::create_dir_all(whole.path().join("outside")).unwrap();
        std::fs::create_dir_all(&drive).unwrap();
        for (path, content) in files {
            std::fs::create_dir_all(drive.join(path).parent().unwrap()).unwrap();
            std::fs::write(drive.join(path), content).unwrap();
        }
        std::os::unix::fs::symlink("../outside", drive.join("out")).unwrap();
        let drives = Drives::new([("d".to_owned(), drive)]).unwrap().with_notes_in(whole.path().join("notes"));
        Self { uploads: Uploads::to(Arc::new(drives)), whole }
    }

    fn drive(&self) -> PathBuf {
        self.whole.path().join("d")
    }

    async fn open(&self, target: Target, policy: ConflictPolicy) -> Client {
        self.open_as(target, policy, Consent::Asked).await
    }

    async fn open_as(&self, target: Target, policy: ConflictPolicy, consent: Consent) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let uploads = self.uploads.clone();
        let served = tokio::spawn(async move {
            let socket = WebSocketStream::from_raw_socket(theirs, Role::Server, Some(reading(MESSAGE_MAX))).await;
            uploads.run(socket, UploadRequest { target, policy, consent }).await;
        });
        Client { socket: WebSocketStream::from_raw_socket(ours, Role::Client, None).await, served }
    }

    async fn folder(&self, path: &str, policy: ConflictPolicy) -> Client {
        self.open(Target::Folder(UcloudPath::parse(path).unwrap()), policy).await
    }

    async fn file(&self, path: &str, policy: ConflictPolicy) -> Client {
        self.open(Target::File(UcloudPath::parse(path).unwrap()), policy).await
    }

    /// All files with their content. Fails if an unfinished file is left.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        walk(&self.drive(), &self.drive(), &mut files);
        assert_eq!(std::fs::read_dir(self.whole.path().join("outside")).unwrap().count(), 0, "outside");
        assert_eq!(std::fs::read_dir(self.whole.path().join("notes")).map_or(0, Iterator::count), 0, "notes");
        files
    }

    fn assert_files(&self, want: &[(&str, &str)]) {
        let want = want.iter().map(|(path, content)| ((*path).to_owned(), (*content).to_owned())).collect();
        assert_eq!(self.files(), want);
    }
}

fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, files);
        } else if entry.file_type().unwrap().is_file() {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
        }
    }
}

fn listing(files: &[(i32, &str, usize)]) -> Vec<u8> {
    let mut bytes = vec![4];
    for (id, path, size) in files {
        bytes.put_i32(*id);
        bytes.put_i64(*size as i64);
        bytes.put_i64(MODIFIED);
        bytes.put_u32(path.len() as u32);
        bytes.extend_from_slice(path.as_bytes());
    }
    bytes
}

fn chunk(id: i32, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.put_i32(id);
    bytes.extend_from_slice(content);
    bytes
}

fn skip(id: i32) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.put_i32(id);
    bytes
}

impl Client {
    async fn say(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    async fn hear(&mut self) -> Vec<Heard> {
        match timeout(PATIENCE, self.socket.next()).await.expect("an answer") {
            Some(Ok(Message::Binary(mut bytes))) => {
                let mut heard = Vec::new();
                while bytes.has_remaining() {
                    heard.push(match bytes.get_u8() {
                        0 => Heard::Ok(bytes.get_i32()),
                        3 => Heard::Skip(bytes.get_i32()),
                        5 => Heard::Completed(bytes.get_i32()),
                        other => panic!("{other}"),
                    });
                }
                heard
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends what the server wants until `wanted` files are done; returns the ids that it skipped.
    async fn serve(&mut self, wanted: i32, content: impl Fn(i32) -> Vec<u8>) -> Vec<i32> {
        let mut skipped = Vec::new();
        loop {
            for heard in self.hear().await {
                match heard {
                    Heard::Ok(id) => self.say(chunk(id, &content(id))).await,
                    Heard::Skip(id) => skipped.push(id),
                    Heard::Completed(number) if number == wanted => return skipped,
                    Heard::Completed(number) => assert!(number < wanted),
                }
            }
        }
    }

    async fn closed(&mut self) -> (CloseCode, String) {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("an end") {
                Some(Ok(Message::Close(Some(frame)))) => return (frame.code, frame.reason.as_str().to_owned()),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close(mut self) {
        self.say(vec![6]).await;
        assert_eq!(self.closed().await, (CloseCode::Normal, String::new()));
        self.served.await.unwrap();
    }
}

use ConflictPolicy::{Reject, Rename, Replace};

/// More files than may be open, in folders that do not exist, some of them empty. Then the same
/// upload again.
#[tokio::test]
async fn a_folder_of_many_files() {
    let desk = Desk::new(&[("old", "old")]);
    let names: Vec<String> = (0..300).map(|n| format!("f{}/g{}/{n}.txt", n % 7, n % 3)).collect();
    let content =
        |id: i32| if id % 10 == 0 { Vec::new() } else { format!("content of {id}").repeat(id as usize).into_bytes() };
    let all: Vec<(i32, &str, usize)> =
        (0..300).map(|id| (id, names[id as usize].as_str(), content(id).len())).collect();
    let mut client = desk.folder("/d/new/folder", Rename).await;
    client.say(listing(&all[..100])).await;
    client.say(listing(&all[100..])).await;
    assert_eq!(client.serve(300, content).await, Vec::<i32>::new());
    client.close().await;
    let files = desk.files();
    assert_eq!(files.len(), 301);
    for (id, name, _) in &all {
        assert_eq!(files[&format!("new/folder/{name}")].as_bytes(), content(*id));
    }
    let modified = std::fs::metadata(desk.drive().join("new/folder").join(&names[1])).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(), MODIFIED as u128);

    let mut again = desk.folder("/d/new/folder", Rename).await;
    again.say(listing(&all)).await;
    assert_eq!(again.serve(300, |_| panic!("nothing is wanted")).await.len(), 300);
    again.close().await;
    assert_eq!(desk.files(), files);
}

#[tokio::test]
async fn policies() {
    let before = [("f/a", "old"), ("f/b", "b")];
    let check = async |policy, skipped: &[i32], want: &[(&str, &str)]| {
        let desk = Desk::new(&before);
        let mut client = desk.folder("/d/f", policy).await;
        client.say(listing(&[(1, "a", 5), (2, "c", 1)])).await;
        assert_eq!(client.serve(2, |id| if id == 1 { b"newer".to_vec() } else { b"c".to_vec() }).await, skipped);
        client.close().await;
        desk.assert_files(want);
    };
    check(Rename, &[], &[("f/a", "old"), ("f/a(1)", "newer"), ("f/b", "b"), ("f/c", "c")]).await;
    check(ConflictPolicy::MergeRename, &[], &[("f/a", "old"), ("f/a(1)", "newer"), ("f/b", "b"), ("f/c", "c")]).await;
    check(Replace, &[], &[("f/a", "newer"), ("f/b", "b"), ("f/c", "c")]).await;
    check(Reject, &[1], &[("f/a", "old"), ("f/b", "b"), ("f/c", "c")]).await;
}

/// A file of the same length differs: only one with the same time as well counts as the same.
#[tokio::test]
async fn a_file_of_the_same_length() {
    let desk = Desk::new(&[("a", "old")]);
    let mut client = desk.folder("/d", Replace).await;
    client.say(listing(&[(1, "a", 3)])).await;
    assert_eq!(client.serve(1, |_| b"new".to_vec()).await, Vec::<i32>::new());
    client.close().await;
    desk.assert_files(&[("a", "new")]);
}

#[tokio::test]
async fn a_single_file() {
    for name in ["", "a", "whatever the client calls it", "../../x"] {
        let desk = Desk::new(&[("a", "old")]);
        let mut client = desk.file("/d/a", Replace).await;
        client.say(listing(&[(-7, name, 6)])).await;
        assert_eq!(client.hear().await, [Heard::Ok(-7)]);
        client.say(chunk(-7, b"new")).await;
        client.say(chunk(-7, b"")).await;
        desk_is(&desk, "a", "old");
        client.say(chunk(-7, b"er.")).await;
        assert_eq!(client.hear().await, [Heard::Completed(1)]);
        client.close().await;
        desk.assert_files(&[("a", "newer.")]);
    }
    let desk = Desk::new(&[("a", "old")]);
    let mut client = desk.file("/d/a", Reject).await;
    client.say(listing(&[(1, "a", 1)])).await;
    assert_eq!(client.closed().await.1, "a file or folder of that name exists already: a");
    let mut client = desk.file("/d/b", Reject).await;
    client.say(listing(&[(1, "b", 1), (2, "c", 1)])).await;
    assert_eq!(client.closed().await, (CloseCode::Policy, "one file was to be sent".to_owned()));
    desk.assert_files(&[("a", "old")]);
}

fn desk_is(desk: &Desk, path: &str, content: &str) {
    assert_eq!(std::fs::read_to_string(desk.drive().join(path)).unwrap(), content);
}

#[tokio::test]
async fn paths_that_lead_elsewhere() {
    for path in [
        "",
        "..",
        "../x",
        "a/../x",
        "/x",
        "/etc/x",
        "x/",
        "a//x",
        "./x",
        "x\0",
        "out/x",
        "out",
        "f/x",
        &"a/".repeat(200),
    ] {
        let desk = Desk::new(&[("f", "old")]);
        // `out` itself is the user's own link: a file may replace it, but not go through it.
        let policy = if path == "out" { Reject } else { Replace };
        let mut client = desk.folder("/d", policy).await;
        client.say(listing(&[(1, "fine", 2), (2, path, 1)])).await;
        if path == "out" {
            assert!(client.hear().await.contains(&Heard::Skip(2)));
            drop(client.socket);
        } else {
            let (code, reason) = client.closed().await;
            assert_eq!(code, CloseCode::Error, "{path:?}: {reason}");
        }
        client.served.await.unwrap();
        desk.assert_files(&[("f", "old")]);
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_what_was_there() {
    let desk = Desk::new(&[("f/a", "old")]);
    let mut client = desk.folder("/d/f", Replace).await;
    client.say(listing(&[(1, "a", 6), (2, "done", 4), (3, "new/b", 4)])).await;
    assert_eq!(client.hear().await, [Heard::Ok(1), Heard::Ok(2), Heard::Ok(3)]);
    client.say(chunk(2, b"done")).await;
    assert_eq!(client.hear().await, [Heard::Completed(1)]);
    client.say(chunk(1, b"half")).await;
    client.say(chunk(3, b"hal")).await;
    drop(client.socket);
    client.served.await.unwrap();
    desk.assert_files(&[("f/a", "old"), ("f/done", "done")]);
}

#[tokio::test]
async fn small_talk() {
    let desk = Desk::new(&[]);
    let mut client = desk.folder("/d", Rename).await;
    client.socket.send(Message::text("ping")).await.unwrap();
    assert_eq!(client.socket.next().await.unwrap().unwrap(), Message::text("pong"));
    // Pieces of an unknown or skipped file are ignored. A frame may hold several messages.
    client.say(chunk(9, b"what?")).await;
    client.say(listing(&[(1, "a", 1), (2, "b", 1), (3, "c", 1)])).await;
    assert_eq!(client.hear().await, [Heard::Ok(1), Heard::Ok(2), Heard::Ok(3)]);
    client.say([skip(1), skip(1), skip(8), skip(3), chunk(2, b"b")].concat()).await;
    client.say(chunk(3, b"c")).await;
    let mut done = 0;
    while done < 3 {
        for heard in client.hear().await {
            assert!(matches!(heard, Heard::Completed(number) if number > done));
            let Heard::Completed(number) = heard else { panic!() };
            done = number;
        }
    }
    client.close().await;
    desk.assert_files(&[("b", "b")]);
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_so() {
    let check = async |say: &[Vec<u8>], want: &str| {
        let desk = Desk::new(&[]);
        let mut client = desk.folder("/d", Rename).await;
        for bytes in say {
            client.say(bytes.clone()).await;
        }
        let (code, reason) = client.closed().await;
        assert_eq!((code, reason.as_str()), (CloseCode::Protocol, want));
        client.served.await.unwrap();
        desk.assert_files(&[]);
    };
    check(&[vec![1]], "there is no such message").await;
    check(&[vec![2, 0]], "a message was cut short").await;
    check(&[listing(&[(1, "a", 1), (1, "b", 1)])], "two files have one id").await;
    check(&[listing(&[(1, "a", 1)]), chunk(1, b"xx")], "a file is longer than was said").await;
    check(&[listing(&[(1, "a", 1)]), listing(&[(1, "a", 1)])], "two files have one id").await;
    check(&[listing(&[(1, "a", usize::MAX)])], "the size of a file is negative").await;
}
