//! Tests of whole requests against real folders.
//!
//! One line describes a folder, so that a case fits on one line too. `a=text` is a file, `d/` a
//! folder, `l->x` a link and `p|` a pipe. An entry inside a folder implies the folder.

mod attacks;
mod browsing;
mod changes;
mod copies;
mod incoming;
mod leftovers;
pub(crate) mod mounts;
mod protected;
mod queues;
mod startup;
mod stopping;
mod trashing;

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_keys::intent::Consent;
use nix::sys::stat::Mode;
use serde_json::Value;
use tempfile::TempDir;

use super::error::{FilesError, RequestError};
use super::request::{Browse, CreateFolder, FilesRequest, MoveOrCopy, Retrieve, Trash};
use super::{Answer, Files};
use crate::drives::table::{Drives, DrivesError};

/// A drive `d`, and a folder outside it that must never change.
struct Desk {
    whole: TempDir,
    files: Files,
    runtime: tokio::runtime::Runtime,
}

/// The content of the folder outside the drive, to which some links lead.
const OUTSIDE: &str = "secret=safe folder/inner=safe";

impl Desk {
    fn new(spec: &str) -> Self {
        Self::in_folder(TempDir::new().unwrap(), spec)
    }

    fn in_folder(whole: TempDir, spec: &str) -> Self {
        let (drive, outside) = (whole.path().join("drive"), whole.path().join("outside"));
        std::fs::create_dir(&drive).unwrap();
        std::fs::create_dir(&outside).unwrap();
        build(&drive, spec, &outside);
        build(&outside, OUTSIDE, &outside);
        let drives = Drives::new([("d".to_owned(), drive)]).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let mut files = Files::new(drives).approved(Consent::Asked);
        // On a busy machine any step may take long, and the work must be done before the test
        // looks.
        files.answer_after = Duration::from_secs(3600);
        Self { whole, files, runtime }
    }

    fn drive(&self) -> PathBuf {
        self.whole.path().join("drive")
    }

    fn outside(&self) -> PathBuf {
        self.whole.path().join("outside")
    }

    fn perform(&self, request: FilesRequest) -> Result<Answer, RequestError> {
        self.runtime.block_on(self.files.perform(request))
    }

    fn ask(&self, request: FilesRequest) -> Result<Value, FilesError> {
        match self.perform(request) {
            Ok(answer) => Ok(serde_json::to_value(answer).unwrap()),
            Err(error) => Err(error.trouble),
        }
    }

    fn tree(&self) -> BTreeSet<String> {
        tree(&self.drive(), &self.outside())
    }

    fn assert_outside_untouched(&self) {
        assert_eq!(tree(&self.outside(), &self.outside()), entries(OUTSIDE), "outside the drive");
    }
}

/// Performs one request on a drive. With `Ok(what)` it leaves `what`; with an error, nothing
/// changes.
fn check(before: &str, request: FilesRequest, want: Result<&str, FilesError>) {
    let desk = Desk::new(before);
    let context = format!("{request:?} on {before:?}");
    let got = desk.ask(request);
    match want {
        Ok(after) => {
            assert_eq!(got, Ok(serde_json::json!({"responses": [{}]})), "{context}");
            assert_eq!(desk.tree(), entries(after), "{context}");
        }
        Err(trouble) => {
            assert_eq!(got, Err(trouble), "{context}");
            assert_eq!(desk.tree(), entries(before), "{context}");
        }
    }
    desk.assert_outside_untouched();
}

fn move_(old: &str, new: &str, policy: &str) -> FilesRequest {
    FilesRequest::Move(vec![transfer(old, new, policy)])
}

fn copy(old: &str, new: &str, policy: &str) -> FilesRequest {
    FilesRequest::Copy(vec![transfer(old, new, policy)])
}

fn transfer(old: &str, new: &str, policy: &str) -> MoveOrCopy {
    MoveOrCopy { old_id: format!("/d/{old}"), new_id: format!("/d/{new}"), conflict_policy: policy.to_owned() }
}

fn folder(path: &str, policy: &str) -> FilesRequest {
    FilesRequest::CreateFolder(vec![CreateFolder { id: format!("/d/{path}"), conflict_policy: policy.to_owned() }])
}

fn trash(path: &str) -> FilesRequest {
    FilesRequest::Trash(vec![Trash { id: format!("/d/{path}") }])
}

fn empty_trash(path: &str) -> FilesRequest {
    FilesRequest::EmptyTrash(vec![Trash { id: format!("/d/{path}") }])
}

fn retrieve(path: &str) -> FilesRequest {
    FilesRequest::Retrieve(Retrieve { id: format!("/d/{path}") })
}

fn browse(path: &str) -> Browse {
    Browse { path: format!("/d/{path}"), ..Browse::default() }
}

/// `OUT` in a link stands for the folder outside.
fn build(at: &Path, spec: &str, outside: &Path) {
    for token in spec.split_whitespace() {
        if let Some((link, target)) = token.split_once("->") {
            make_parents(&at.join(link));
            let target = target.replace("OUT", outside.to_str().unwrap());
            std::os::unix::fs::symlink(target, at.join(link)).unwrap();
        } else if let Some((file, content)) = token.split_once('=') {
            make_parents(&at.join(file));
            std::fs::write(at.join(file), content).unwrap();
        } else if let Some(pipe) = token.strip_suffix('|') {
            make_parents(&at.join(pipe));
            nix::unistd::mkfifo(&at.join(pipe), Mode::S_IRWXU).unwrap();
        } else {
            std::fs::create_dir_all(at.join(token)).unwrap();
        }
    }
}

fn make_parents(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
}

/// The tokens of a spec, with the folders that it implies.
fn entries(spec: &str) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for token in spec.split_whitespace() {
        let path = token.split("->").next().unwrap();
        let path = path.split('=').next().unwrap();
        for (slash, _) in path.match_indices('/') {
            set.insert(format!("{}/", &path[..slash]));
        }
        set.insert(token.to_owned());
    }
    set
}

/// The tokens of the real folder.
fn tree(at: &Path, outside: &Path) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(at.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let inside = folder.join(entry.file_name());
            let (name, kind) = (inside.to_string_lossy().into_owned(), entry.file_type().unwrap());
            if kind.is_dir() {
                set.insert(format!("{name}/"));
                folders.push(inside);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                let target = target.to_str().unwrap().replace(outside.to_str().unwrap(), "OUT");
                set.insert(format!("{name}->{target}"));
            } else if kind.is_fifo() {
                set.insert(format!("{name}|"));
            } else {
                let content = std::fs::read(entry.path()).unwrap();
                set.insert(format!("{name}={}", String::from_utf8_lossy(&content)));
            }
        }
    }
    set
}

/// A folder in memory, for tests that do much.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").expect("/dev/shm, as on every Linux")
}

/// A folder on another file system than the usual temporary one.
fn other_file_system() -> TempDir {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    let other = in_memory();
    assert_ne!(device(other.path()), device(&std::env::temp_dir()), "two file systems");
    other
}

#[test]
fn tables_of_drives() {
    let check = |drives: &[(&str, &str)], want: Result<(), DrivesError>| {
        let drives = drives.iter().map(|(id, path)| ((*id).to_owned(), PathBuf::from(path)));
        assert_eq!(Drives::new(drives).map(drop), want);
    };
    check(&[], Ok(()));
    check(&[("home", "/home/a"), ("work", "/work")], Ok(()));
    check(&[("home", "/a"), ("home", "/b")], Err(DrivesError::Twice("home".to_owned())));
    check(&[("home", "~")], Err(DrivesError::Relative("home".to_owned())));
    for id in ["", ".", "..", "a/b", "a/", "/a", "a\0b", &"x".repeat(256)] {
        check(&[(id, "/a")], Err(DrivesError::Id(id.to_owned())));
    }
}

#[test]
fn drives_that_are_not_there() {
    let desk = Desk::new("a=1");
    let of = |path: &str| FilesRequest::Retrieve(Retrieve { id: path.to_owned() });
    assert_eq!(desk.ask(of("/e/a")), Err(FilesError::NoDrive));
    assert_eq!(desk.ask(of("/drive/a")), Err(FilesError::NoDrive));
    let gone = Drives::new([("d".to_owned(), desk.drive().join("gone"))]).unwrap();
    let files = Files::new(gone);
    let error = desk.runtime.block_on(files.perform(of("/d"))).unwrap_err();
    assert_eq!(error.trouble, FilesError::DriveMissing);
}
