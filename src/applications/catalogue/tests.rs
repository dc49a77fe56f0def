//! Tests of what may start.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const GROMACS: &str = include_str!("../samples/gromacs.json");
const WORKFLOW: &str = include_str!("../samples/workflow.json");

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn catalogue(&self, accept: &[Accept]) -> Catalogue {
        use std::os::unix::fs::MetadataExt as _;
        let own = Uid(std::fs::metadata(self.0.path()).unwrap().uid());
        let accept: BTreeSet<Accept> = accept.iter().copied().collect();
        Catalogue::at(&Applications { folder: self.0.path().to_owned(), accept }, own)
    }

    fn both(&self) -> Catalogue {
        self.catalogue(&[Accept::Approved, Accept::Workflow])
    }

    fn approve(&self, text: &str) -> PathBuf {
        let path = self.both().path("gromacs", "2024").unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn parse(text: &str) -> Invocation {
    Invocation::parse(text.as_bytes()).unwrap()
}

#[test]
fn what_runs_is_the_approved_text() {
    let folder = Folder::new();
    folder.approve(&parse(GROMACS).indented());
    let started = folder.both().startable("gromacs", "2024", &parse(GROMACS)).unwrap();
    let Startable::Approved(approved) = started else { panic!("no approved application") };
    assert_eq!(approved.digest(), parse(GROMACS).digest());
    assert!(matches!(folder.both().without_core("gromacs", "2024"), Ok(Startable::Approved(_))));
}

#[test]
fn another_application_under_an_approved_name_does_not_start() {
    let folder = Folder::new();
    folder.approve(&parse(GROMACS).indented());
    for (find, replace) in [
        ("\"word\":\"mdrun\"", "\"word\":\"id\""),
        ("\"defaultValue\":\"Fast\"", "\"defaultValue\":\"Exact\""),
        ("\"value\":\"exact; rm -rf\"", "\"value\":\"other\""),
        ("\"word\":\"4\"", "\"word\":\"8\""),
        ("\"GROMACS/2024.1\"", "\"GROMACS/2024.2\""),
        ("\"version\":\"2024\"}]", "\"version\":\"2025\"}]"),
    ] {
        let sent = parse(&GROMACS.replacen(find, replace, 1));
        let refused = folder.both().startable("gromacs", "2024", &sent).unwrap_err();
        assert!(matches!(refused, NotApproved::Different) && refused.is_for_review(), "{refused}");
    }
    // Not even one that would need no approval under another name.
    assert!(matches!(folder.both().startable("gromacs", "2024", &parse(WORKFLOW)), Err(NotApproved::Different)));
}

#[test]
fn an_application_without_approval_does_not_start() {
    let folder = Folder::new();
    let refused = folder.both().startable("gromacs", "2024", &parse(GROMACS)).unwrap_err();
    assert!(matches!(refused, NotApproved::Unknown) && refused.is_for_review());
    folder.approve(&parse(GROMACS).indented());
    for (name, version) in [("gromacs", "2025"), ("Gromacs", "2024"), ("gromacs", "2024.json"), ("..", "2024")] {
        assert!(matches!(folder.both().startable(name, version, &parse(GROMACS)), Err(NotApproved::Unknown)));
    }
    assert!(matches!(folder.both().startable("", "2024", &parse(GROMACS)), Err(NotApproved::Name(_))));
}

#[test]
fn a_workflow_needs_no_approval_unless_the_site_says_so() {
    let folder = Folder::new();
    let sent = parse(WORKFLOW);
    assert!(matches!(folder.both().startable("wf", "1", &sent), Ok(Startable::WorkflowOnly(_))));
    let approved_only = folder.catalogue(&[Accept::Approved]);
    assert!(matches!(approved_only.startable("wf", "1", &sent), Err(NotApproved::Unknown)));
    assert!(matches!(approved_only.without_core("wf", "1"), Err(NotApproved::Unknown)));
    folder.approve(&parse(GROMACS).indented());
    let workflow_only = folder.catalogue(&[Accept::Workflow]);
    assert!(matches!(workflow_only.startable("gromacs", "2024", &parse(GROMACS)), Err(NotApproved::Unknown)));
}

#[test]
fn a_file_that_others_can_write_approves_nothing() {
    let folder = Folder::new();
    let path = folder.approve(&parse(GROMACS).indented());
    let refused = |folder: &Folder| folder.both().startable("gromacs", "2024", &parse(GROMACS));
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    chmod(&path, 0o664);
    assert!(matches!(refused(&folder), Err(NotApproved::File(_))));
    chmod(&path, 0o644);
    for writable in [path.parent().unwrap(), folder.0.path()] {
        chmod(writable, 0o777);
        assert!(matches!(refused(&folder), Err(NotApproved::File(_))), "{}", writable.display());
        chmod(writable, 0o755);
    }
    assert!(refused(&folder).is_ok());
    let stranger = Catalogue { reader: Uid(4_000_000_000), ..folder.both() };
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap());
    assert!(own == 0 || matches!(stranger.read("gromacs", "2024"), Err(NotApproved::File(_))));
}

#[test]
fn a_damaged_file_approves_nothing() {
    let folder = Folder::new();
    for text in ["", "{", "[]", "{\"script\":\"x\"}"] {
        folder.approve(text);
        let refused = folder.both().startable("gromacs", "2024", &parse(GROMACS)).unwrap_err();
        assert!(matches!(refused, NotApproved::Damaged(_)) && !refused.is_for_review(), "{text:?}");
    }
}

#[test]
fn the_list_has_what_is_approved_and_nothing_else() {
    let folder = Folder::new();
    assert_eq!(folder.both().list().unwrap(), []);
    folder.approve(GROMACS);
    let odd = folder.both().path("a/b", "1 0").unwrap();
    std::fs::create_dir_all(odd.parent().unwrap()).unwrap();
    std::fs::write(&odd, GROMACS).unwrap();
    std::fs::write(odd.with_file_name("notes.txt"), "").unwrap();
    std::fs::write(odd.with_file_name("a b.json"), "").unwrap();
    std::fs::write(folder.0.path().join("README"), "").unwrap();
    let listed: Vec<_> = folder.both().list().unwrap().into_iter().map(|one| (one.name, one.version)).collect();
    assert_eq!(listed, [("a/b".to_owned(), "1 0".to_owned()), ("gromacs".to_owned(), "2024".to_owned())]);
}
