//! The records of jobs, across starts of the process and limits.

use countersign_keys::identity::Username;
use countersign_slurm::SlurmJobId;

use super::*;
use crate::jobs::interfaces::Interfaces;
use crate::jobs::record::{JobFolder, RecordState};

fn records(home: &tempfile::TempDir) -> JobRecords {
    JobRecords::of(&OwnAccount::in_tests(home.path()), &ProviderId::parse("hpc").unwrap())
}

fn id(text: &str) -> CoreJobId {
    CoreJobId::parse(text).unwrap()
}

fn record(of: &str) -> Record {
    Record {
        username: Username::parse("alice#1234").unwrap(),
        project: None,
        application: ("sleep".to_owned(), "1".to_owned()),
        tag: "00112233445566778899aabbccddeeff".to_owned(),
        begun_at: 1_700_000_000,
        folder: JobFolder { drive: "home".to_owned(), within: "ucloud-jobs".to_owned(), job: id(of) },
        nodes: 1,
        interfaces: Interfaces::default(),
        links: Vec::new(),
        state: RecordState::AboutToSubmit,
    }
}

#[tokio::test]
async fn an_id_is_recorded_once() {
    let home = tempfile::tempdir().unwrap();
    let records = records(&home);
    records.begin(&id("7"), record("7")).await.unwrap();
    assert!(matches!(records.begin(&id("7"), record("7")).await, Err(StoreFailure::Known)));
    let ended = record("7").in_state(RecordState::Ended { slurm_id: None });
    records.replace(&id("7"), ended).await.unwrap();
    records.finish(&id("7")).await.unwrap();
    assert!(matches!(records.begin(&id("7"), record("7")).await, Err(StoreFailure::Known)), "nor after its end");
    records.begin(&id("07"), record("07")).await.unwrap();
}

#[tokio::test]
async fn what_is_unfinished_is_found_after_a_start() {
    let home = tempfile::tempdir().unwrap();
    let before = records(&home);
    before.begin(&id("7"), record("7")).await.unwrap();
    before.begin(&id("8"), record("8")).await.unwrap();
    let submitted = record("8").in_state(RecordState::Submitted { slurm_id: SlurmJobId::parse("62").unwrap() });
    before.replace(&id("8"), submitted.clone()).await.unwrap();
    before.begin(&id("9"), record("9")).await.unwrap();
    before.finish(&id("9")).await.unwrap();

    let after = records(&home);
    let mut unfinished = after.left_over().await.unwrap();
    unfinished.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    assert_eq!(unfinished, [(id("7"), Some(record("7"))), (id("8"), Some(submitted))]);
    assert_eq!(after.read(&id("9")).await.unwrap(), Some(record("9")));
    assert_eq!(after.read(&id("10")).await.unwrap(), None);
}

#[tokio::test]
async fn j05_what_this_process_has_begun_is_not_left_over() {
    let home = tempfile::tempdir().unwrap();
    records(&home).begin(&id("7"), record("7")).await.unwrap();
    let after = records(&home);
    // A request that comes before the look at what is left over.
    after.begin(&id("8"), record("8")).await.unwrap();
    assert_eq!(after.left_over().await.unwrap(), [(id("7"), Some(record("7")))]);
}

#[tokio::test]
async fn what_a_killed_process_was_writing_is_removed_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    records(&home).begin(&id("7"), record("7")).await.unwrap();
    let state = home.path().join(".local/state/countersign/hpc");
    let half = ["jobs", "jobs-unfinished"].map(|folder| state.join(folder).join(".8.unfinished"));
    half.iter().for_each(|file| std::fs::write(file, "{").unwrap());
    assert_eq!(records(&home).left_over().await.unwrap(), [(id("7"), Some(record("7")))]);
    assert_eq!(half.map(|file| file.exists()), [false, false]);
}

#[tokio::test]
async fn a_record_that_others_could_have_written_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let records = records(&home);
    records.begin(&id("7"), record("7")).await.unwrap();
    let file = home.path().join(".local/state/countersign/hpc/jobs/7");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(records.read(&id("7")).await.is_err());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "{}").unwrap();
    assert!(matches!(records.read(&id("7")).await, Err(StoreFailure::Malformed(_))));
}

#[tokio::test]
async fn the_number_of_unfinished_jobs_is_limited() {
    let home = tempfile::tempdir().unwrap();
    let records = records(&home);
    let unfinished = home.path().join(".local/state/countersign/hpc/jobs-unfinished");
    records.begin(&id("1"), record("1")).await.unwrap();
    for number in 2..=UNFINISHED_MAX {
        std::fs::write(unfinished.join(number.to_string()), "").unwrap();
    }
    assert!(matches!(records.begin(&id("99999"), record("99999")).await, Err(StoreFailure::TooMany)));
    records.finish(&id("1")).await.unwrap();
    records.begin(&id("99999"), record("99999")).await.unwrap();
}
